// In which order teams take this machine's CPUs.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace altlas::device {

// `allowed` in the order of use: one CPU of every physical core, memory node by memory node, then
// their siblings likewise. So neighbouring threads share a node, and no two a core before they
// must. sysfs: where the kernel describes the machine; what can't be read counts as node 0 and as a
// core of its own.
std::vector<int> cpu_order(std::span<const int> allowed,
                           const std::string& sysfs = "/sys/devices/system");

// The numbers of "0-3,8", the kernel's way to write a set; empty for anything else, and for numbers
// of 65536 and more.
std::vector<int> parse_cpu_list(std::string_view text);

}  // namespace altlas::device
