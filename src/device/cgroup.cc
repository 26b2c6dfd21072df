#include "device/cgroup.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "device/probe.h"

namespace altlas::device {
namespace {

// Where a hierarchy is visible: the group `root` of it is mounted at `place`.
struct Mount {
  std::string root = "/", place;
};

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> out;
  for (size_t end = text.find(at); end != std::string_view::npos; end = text.find(at)) {
    out.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  out.push_back(text);
  return out;
}

bool holds(const std::vector<std::string_view>& list, std::string_view what) {
  return std::ranges::find(list, what) != list.end();
}

// mountinfo writes spaces and other special characters as \ooo.
std::string unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool octal = text[i] == '\\' && i + 3 < text.size() &&
                       text.substr(i + 1, 3).find_first_not_of("01234567") == text.npos;
    if (!octal) {
      out += text[i];
      continue;
    }
    out +=
        static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + text[i + 3] - '0');
    i += 3;
  }
  return out;
}

// Returns the mount of a hierarchy (version 2 if `controller` is empty), or `usual` if none is
// named.
Mount find_mount(std::string_view mountinfo, std::string_view controller, std::string_view usual) {
  for (const std::string_view line : split(mountinfo, '\n')) {
    const size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const auto before = split(line.substr(0, dash), ' '), after = split(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    const bool fits = controller.empty()
                          ? after[0] == "cgroup2"
                          : after[0] == "cgroup" && holds(split(after[2], ','), controller);
    if (fits) return {unescaped(before[3]), unescaped(before[4])};
  }
  return {"/", std::string(usual)};
}

// Returns the folders of the group `path` and of those above it, as far as they are visible. A
// process in a container may be told a path of the host's: what is mounted is then its own group.
std::vector<std::string> folders(const Mount& mount, std::string_view path) {
  const std::string_view above = mount.root == "/" ? std::string_view() : mount.root;
  std::string below;
  if (path.starts_with(above) && (path.size() == above.size() || path[above.size()] == '/'))
    below = path.substr(above.size());
  if (below.find("/..") != std::string::npos) below.clear();
  std::vector<std::string> out;
  while (!below.empty() && below != "/") {
    out.push_back(mount.place + below);
    below.resize(below.rfind('/'));
  }
  out.push_back(mount.place);
  return out;
}

class Reader {
 public:
  explicit Reader(const std::string& root)
      : root_(root), mountinfo_(read("/proc/self/mountinfo")) {}

  CgroupLimits limits() {
    const std::string groups = read("/proc/self/cgroup");
    for (const std::string_view line : split(groups, '\n')) {
      const size_t first = line.find(':'), second = line.find(':', first + 1);
      if (first == std::string_view::npos || second == std::string_view::npos) continue;
      const std::string_view names = line.substr(first + 1, second - first - 1),
                             path = line.substr(second + 1);
      if (names.empty()) version_2(path);
      if (holds(split(names, ','), "memory")) memory_1(path);
      if (holds(split(names, ','), "cpu")) cpu_1(path);
    }
    return limits_;
  }

 private:
  std::string read(const std::string& path) const { return read_small_file(root_ + path); }
  uint64_t number(const std::string& path) const {
    uint64_t value = 0;
    return leading_number(read(path), value) ? value : 0;
  }

  void memory(uint64_t limit, const std::string& usage, const std::string& folder,
              std::string_view droppable) {
    if (limit == 0) return;
    uint64_t files = 0;
    const std::string stat = read(folder + "/memory.stat");
    leading_number(line_after(stat, droppable), files);
    const uint64_t used = number(folder + usage) - std::min(files, number(folder + usage));
    if (limits_.memory_total == 0 || limit < limits_.memory_total) limits_.memory_total = limit;
    limits_.memory_available = std::min(limits_.memory_available, limit - std::min(limit, used));
  }
  void cores(uint32_t limit) {
    if (limit != 0 && (limits_.cores == 0 || limit < limits_.cores)) limits_.cores = limit;
  }

  void version_2(std::string_view path) {
    for (const std::string& folder : folders(find_mount(mountinfo_, "", "/sys/fs/cgroup"), path)) {
      // Beyond `high` the kernel slows the group down so much that it acts as a limit, too.
      for (const char* file : {"/memory.max", "/memory.high"})
        memory(cgroup_memory_limit(read(folder + file)), "/memory.current", folder,
               "inactive_file ");
      cores(cgroup_cpu_limit(read(folder + "/cpu.max")));
    }
  }
  void memory_1(std::string_view path) {
    bool own = true;
    for (const std::string& folder :
         folders(find_mount(mountinfo_, "memory", "/sys/fs/cgroup/memory"), path)) {
      // A group without use_hierarchy does not count what those below it use.
      if (!own && read(folder + "/memory.use_hierarchy").starts_with('0')) continue;
      own = false;
      memory(cgroup_memory_limit(read(folder + "/memory.limit_in_bytes")), "/memory.usage_in_bytes",
             folder, "total_inactive_file ");
    }
  }
  void cpu_1(std::string_view path) {
    for (const std::string& folder :
         folders(find_mount(mountinfo_, "cpu", "/sys/fs/cgroup/cpu"), path)) {
      // A quota of -1 means that there is none.
      const std::string quota = read(folder + "/cpu.cfs_quota_us");
      cores(cgroup_cpu_limit(quota.substr(0, quota.find('\n')) + " " +
                             read(folder + "/cpu.cfs_period_us")));
    }
  }

  const std::string root_;
  const std::string mountinfo_;
  CgroupLimits limits_;
};

}  // namespace

CgroupLimits read_cgroup_limits(const std::string& root) { return Reader(root).limits(); }

}  // namespace altlas::device
