#include "device/cpu/topology.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <tuple>

namespace altlas::device {
namespace {

constexpr int kCpusMax = 65536;

std::vector<int> read_cpu_list(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return parse_cpu_list(line);
}

// Returns each CPU's node.
std::map<int, int> nodes_of(const std::string& sysfs) {
  std::map<int, int> out;
  for (const int node : read_cpu_list(sysfs + "/node/online"))
    for (const int cpu : read_cpu_list(sysfs + "/node/node" + std::to_string(node) + "/cpulist"))
      out.try_emplace(cpu, node);
  return out;
}

// Takes a number off the front of the text. Returns -1 if no usable one is there.
int take_number(std::string_view& text) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0 || value >= kCpusMax) return -1;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

}  // namespace

std::vector<int> parse_cpu_list(std::string_view text) {
  std::vector<int> out;
  while (!text.empty()) {
    const int first = take_number(text);
    int last = first;
    if (text.starts_with('-')) {
      text.remove_prefix(1);
      last = take_number(text);
    }
    const bool more = text.starts_with(',');
    if (first < 0 || last < first || (!more && !text.empty()) || out.size() > kCpusMax) return {};
    for (int cpu = first; cpu <= last; ++cpu) out.push_back(cpu);
    if (more) text.remove_prefix(1);
  }
  return out;
}

std::vector<int> cpu_order(std::span<const int> allowed, const std::string& sysfs) {
  const std::map<int, int> nodes = nodes_of(sysfs);
  struct Place {
    size_t sibling;  // The number of allowed CPUs of its core that come before it.
    int node, cpu;
  };
  std::vector<Place> places;
  for (const int cpu : allowed) {
    const std::vector<int> core =
        read_cpu_list(sysfs + "/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    const auto before = std::ranges::count_if(core, [&](int other) {
      return other < cpu && std::ranges::find(allowed, other) != allowed.end();
    });
    const auto node = nodes.find(cpu);
    places.push_back({static_cast<size_t>(before), node == nodes.end() ? 0 : node->second, cpu});
  }
  std::ranges::sort(places, {},
                    [](const Place& p) { return std::tuple(p.sibling, p.node, p.cpu); });
  std::vector<int> out;
  for (const Place& place : places) out.push_back(place.cpu);
  return out;
}

}  // namespace altlas::device
