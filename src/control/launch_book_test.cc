#include "control/launch_book.h"

#include <gtest/gtest.h>

namespace altlas::control {
namespace {

constexpr WorkerId kFirst{ReplicaId{1}, 0}, kOther{ReplicaId{1}, 1};

// What the caller was asked to do, as words.
std::vector<std::string> said(LaunchBook& book) {
  std::vector<std::string> out;
  for (const LaunchAction& action : book.take_actions()) {
    if (std::holds_alternative<SpawnProcess>(action)) out.emplace_back("spawn");
    if (std::holds_alternative<KillProcess>(action)) out.emplace_back("kill");
    if (const auto* drop = std::get_if<DropLink>(&action)) out.push_back("drop: " + drop->reason);
    if (const auto* load = std::get_if<LoadOverLink>(&action))
      out.push_back("load " + load->load.model_path);
    if (const auto* up = std::get_if<SayConnected>(&action))
      out.push_back("connected " + std::to_string(up->pid));
    if (std::holds_alternative<SayReported>(action)) out.emplace_back("report");
    if (const auto* lost = std::get_if<SayLost>(&action)) out.push_back("lost: " + lost->reason);
  }
  return out;
}
using Words = std::vector<std::string>;

engine::LoadReplica model() {
  engine::LoadReplica load;
  load.model_path = "m";
  return load;
}

// Goal: every way in which a worker can end is reported once, with its reason, and nothing follows.
TEST(LaunchBook, EachLifeEndsOnce) {
  LaunchBook book;
  book.start(kFirst, model());
  EXPECT_EQ(said(book), Words{"spawn"});
  book.link_opened(kFirst, 7);
  EXPECT_EQ(said(book), (Words{"load m", "connected 7"}));
  book.reported(kFirst, engine::ReplicaDrained{});
  book.reported(kOther, engine::ReplicaDrained{});  // This worker is not in the book.
  EXPECT_EQ(said(book), Words{"report"});
  book.exited(kFirst, "killed by signal 9");
  EXPECT_EQ(said(book), (Words{"drop: killed by signal 9", "lost: killed by signal 9"}));
  book.exited(kFirst, "again");
  book.reported(kFirst, engine::ReplicaDrained{});
  book.link_lost(kFirst, "late");
  book.stop(kFirst, true);
  EXPECT_EQ(said(book), Words{});
}

TEST(LaunchBook, ALostLinkKillsAndTheExitTells) {
  LaunchBook book;
  book.start(kFirst, model());
  book.link_opened(kFirst, 7);
  said(book);
  book.link_lost(kFirst, "silent");
  EXPECT_EQ(said(book), Words{"kill"});
  book.exited(kFirst, "killed by signal 9 (asked to)");
  EXPECT_EQ(said(book).back(), "lost: killed by signal 9 (asked to) (silent)");
  EXPECT_FALSE(book.knows(kFirst));
}

TEST(LaunchBook, StoppedWorkersAreToldOrKilled) {
  LaunchBook book;
  book.start(kFirst, model());
  book.start(kOther, model());
  said(book);
  book.stop(kFirst, /*kill=*/false);
  EXPECT_EQ(said(book), Words{"drop: stopped by the server"});
  book.stop(kOther, /*kill=*/true);
  EXPECT_EQ(said(book), (Words{"drop: stopped by the server", "kill"}));
  book.exited(kFirst, "exited with code 0");
  EXPECT_EQ(said(book).back(), "lost: exited with code 0");
  book.exited(kOther, "killed");
  EXPECT_EQ(said(book), Words{"drop: killed"}) << "nobody wants to know";
}

TEST(LaunchBook, WhatCannotStartIsLost) {
  LaunchBook book;
  book.start(kFirst, model());
  said(book);
  book.not_spawned(kFirst, "no memory");
  EXPECT_EQ(said(book), (Words{"drop: no memory", "lost: no memory"}));
  EXPECT_FALSE(book.knows(kFirst));
}

}  // namespace
}  // namespace altlas::control
