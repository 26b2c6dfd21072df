// Rows: a view of some rows of a matrix in memory that others own.
#pragma once

#include <cstddef>
#include <type_traits>

#include "base/check.h"

namespace altlas {

// Row i begins at data + i * stride; how many values of it count is the reader's to know. An empty
// one has no data.
template <class T>
struct Rows {
  T* data = nullptr;
  size_t count = 0;
  size_t stride = 0;  // Values from one row to the next.

  T* operator[](size_t row) const {
    ALTLAS_DCHECK(row < count, "a row of the view");
    return data + row * stride;
  }
  // Rows [begin, end).
  Rows rows(size_t begin, size_t end) const {
    ALTLAS_DCHECK(begin <= end && end <= count, "rows of the view");
    return {data + begin * stride, end - begin, stride};
  }
  // The same rows from a column on.
  Rows from_column(size_t column) const { return {data + column, count, stride}; }

  operator Rows<const T>() const
    requires(!std::is_const_v<T>)
  {
    return {data, count, stride};
  }
};

}  // namespace altlas
