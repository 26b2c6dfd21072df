// The metrics of room `journal`.
#pragma once

#include "telemetry/metric_def.h"

namespace altlas::journal {

using telemetry::MetricDef;
using telemetry::MetricKind;

inline constexpr MetricDef kCommitSeconds{
    .name = "altlas_journal_commit_seconds",
    .kind = MetricKind::kHistogram,
    .help = "Time of one write of the journal until it is on the disk (fsync).",
    .unit = "s",
    .buckets = telemetry::kSecondsBuckets};
inline constexpr MetricDef kLagSeconds{
    .name = "altlas_journal_lag_seconds",
    .kind = MetricKind::kHistogram,
    .help = "Time from handing something to the journal until it is written, or was refused.",
    .unit = "s",
    .buckets = telemetry::kSecondsBuckets};
inline constexpr MetricDef kEventsTotal{.name = "altlas_journal_events_total",
                                        .kind = MetricKind::kCounter,
                                        .help = "Events of tasks that the journal has written.",
                                        .unit = "events"};
inline constexpr MetricDef kFailuresTotal{.name = "altlas_journal_failures_total",
                                          .kind = MetricKind::kCounter,
                                          .help = "Writes of the journal that failed.",
                                          .unit = "writes"};
inline constexpr MetricDef kWaitingEvents{
    .name = "altlas_journal_waiting_events",
    .kind = MetricKind::kGauge,
    .help = "Events handed to the journal that are not written yet.",
    .unit = "events"};
inline constexpr const MetricDef* kJournalMetrics[] = {&kCommitSeconds, &kLagSeconds, &kEventsTotal,
                                                       &kFailuresTotal, &kWaitingEvents};

}  // namespace altlas::journal
