// Deterministic CBOR (RFC 8949 section 4.2.1) of the few kinds that attestations hold, written, and read strictly.
#ifndef OG_ROS__DETAIL__CBOR_HPP_
#define OG_ROS__DETAIL__CBOR_HPP_

#include <cstdint>
#include <string>
#include <utility>

#include "og_ros/detail/bytes.hpp"
#include "og_ros/detail/utf8.hpp"

namespace og_ros
{
namespace detail
{

class CborWriter
{
public:
  void number(std::uint64_t value) {head(0, value);}
  void integer(std::int64_t value)
  {
    if (value >= 0) {
      head(0, static_cast<std::uint64_t>(value));
    } else {
      head(1, static_cast<std::uint64_t>(-(value + 1)));
    }
  }
  void bytes(View value)
  {
    head(2, value.size());
    append(data_, value);
  }
  void text(std::string_view value)
  {
    head(3, value.size());
    append(data_, View(value));
  }
  void array(std::uint64_t count) {head(4, count);}
  void map(std::uint64_t count) {head(5, count);}
  void tag(std::uint64_t value) {head(6, value);}
  Bytes take() {return std::move(data_);}

private:
  void head(std::uint8_t major, std::uint64_t argument)
  {
    const auto top = static_cast<std::uint8_t>(major << 5);
    if (argument < 24) {
      data_.push_back(static_cast<std::uint8_t>(top | argument));
      return;
    }
    const int width = argument <= 0xFF ? 0 : argument <= 0xFFFF ? 1 : argument <= 0xFFFFFFFF ? 2 : 3;
    data_.push_back(static_cast<std::uint8_t>(top | (24 + width)));
    for (int shift = 8 * ((1 << width) - 1); shift >= 0; shift -= 8) {
      data_.push_back(static_cast<std::uint8_t>(argument >> shift));
    }
  }

  Bytes data_;
};

/// Reads what it is told to expect, in the one encoding allowed; throws Error(malformed) for anything else.
class CborReader
{
public:
  explicit CborReader(View data)
  : rest_(data) {}

  std::uint64_t number() {return head(0);}
  /// An integer of either sign that fits 32 bits.
  std::int32_t integer()
  {
    const bool negative = !rest_.empty() && rest_[0] >> 5 == 1;
    const std::uint64_t value = head(negative ? 1 : 0);
    if (value > 0x7FFFFFFF) {throw Error(Reason::bounds, "a number does not fit 32 bits");}
    return negative ? -1 - static_cast<std::int32_t>(value) : static_cast<std::int32_t>(value);
  }
  View bytes() {return content(2);}
  std::string text()
  {
    const View found = content(3);
    if (!is_utf8(found)) {throw malformed("text that is not UTF-8");}
    return std::string(found.text());
  }
  std::uint64_t array() {return items(4);}
  void map(std::uint64_t count)
  {
    if (items(5) != count) {throw malformed("a map with fields missing, or with unknown ones");}
  }
  void tag(std::uint64_t value)
  {
    if (head(6) != value) {throw malformed("another tag than the one expected");}
  }
  void key(std::string_view name)
  {
    if (content(3).text() != name) {
      throw malformed("the field '" + std::string(name) + "' is missing, or keys are out of order");
    }
  }
  void end() const
  {
    if (!rest_.empty()) {throw malformed("bytes after its end");}
  }

private:
  static Error malformed(const std::string & what) {return Error(Reason::malformed, "malformed CBOR: " + what);}

  std::uint64_t head(std::uint8_t major)
  {
    if (rest_.empty()) {throw malformed("truncated");}
    if (rest_[0] >> 5 != major) {throw malformed("an item of another kind than the one expected");}
    const std::uint8_t low = rest_[0] & 0x1F;
    if (low < 24) {
      rest_ = rest_.part(1);
      return low;
    }
    if (low > 27) {throw malformed("an indefinite length or a reserved head");}
    const std::size_t width = std::size_t{1} << (low - 24);
    if (rest_.size() < 1 + width) {throw malformed("truncated");}
    std::uint64_t argument = 0;
    for (std::size_t at = 1; at <= width; ++at) {argument = argument << 8 | rest_[at];}
    if (argument < (width == 1 ? 24 : std::uint64_t{1} << (4 * width))) {
      throw malformed("a number that is not in its shortest form");
    }
    rest_ = rest_.part(1 + width);
    return argument;
  }

  View content(std::uint8_t major)
  {
    const std::uint64_t size = head(major);
    if (size > rest_.size()) {throw malformed("truncated");}
    const View found = rest_.part(0, static_cast<std::size_t>(size));
    rest_ = rest_.part(static_cast<std::size_t>(size));
    return found;
  }

  std::uint64_t items(std::uint8_t major)
  {
    const std::uint64_t count = head(major);
    if (count > rest_.size()) {throw malformed("truncated");}
    return count;
  }

  View rest_;
};

}  // namespace detail
}  // namespace og_ros

#endif  // OG_ROS__DETAIL__CBOR_HPP_
