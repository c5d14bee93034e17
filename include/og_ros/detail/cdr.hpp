// Plain CDR (XCDR1, OMG DDS-XTypes 1.3, 7.4.1): a strict reader in either byte order, and a little-endian writer.
#ifndef OG_ROS__DETAIL__CDR_HPP_
#define OG_ROS__DETAIL__CDR_HPP_

#include <algorithm>
#include <string>
#include <utility>

#include "og_ros/detail/bytes.hpp"
#include "og_ros/detail/utf8.hpp"
#include "og_ros/statement.hpp"

namespace og_ros
{
namespace detail
{

class CdrReader
{
public:
  explicit CdrReader(View payload)
  {
    if (payload.size() < 4) {throw malformed("a CDR payload has at least 4 bytes");}
    if (payload[0] != 0 || payload[1] > 1) {throw malformed("the encapsulation is not plain CDR (00 00 or 00 01)");}
    little_ = payload[1] == 1;
    data_ = payload.part(4);
  }

  template<typename T>
  T number()
  {
    constexpr std::size_t size = sizeof(T);
    const View found = span(size, size);
    std::uint64_t value = 0;
    for (std::size_t at = 0; at < size; ++at) {
      value = value << 8 | found[little_ ? size - 1 - at : at];
    }
    return static_cast<T>(value);
  }

  View span(std::size_t size, std::size_t alignment = 1)
  {
    const std::size_t start = at_ + (alignment - at_ % alignment) % alignment;
    if (start > data_.size() || size > data_.size() - start) {throw malformed("the message is truncated");}
    at_ = start + size;
    return {data_.data() + start, size};
  }

  template<std::size_t N>
  void take(std::array<std::uint8_t, N> & target)
  {
    const View found = span(N);
    std::copy(found.begin(), found.end(), target.begin());
  }

  View octets(std::size_t bound)
  {
    const auto size = number<std::uint32_t>();
    if (size > bound) {throw malformed("the message has a field of " + std::to_string(size) + " bytes");}
    return span(size);
  }

  std::string text(std::size_t bound)
  {
    const View found = octets(bound + 1);
    const auto * nul = std::find(found.begin(), found.end(), 0);
    if (found.empty() || nul != found.end() - 1) {
      throw malformed("the message has a string that does not end in its only NUL");
    }
    const View content = found.part(0, found.size() - 1);
    if (!is_utf8(content)) {throw malformed("the message has a string that is not UTF-8");}
    return content.empty() ? std::string() : std::string(content.text());
  }

  std::uint64_t time()
  {
    const auto seconds = number<std::int32_t>();
    const auto nanoseconds = number<std::uint32_t>();
    if (seconds < 0 || nanoseconds >= kNanosecondsPerSecond) {throw malformed("the message has a time that is none");}
    return static_cast<std::uint64_t>(seconds) * kNanosecondsPerSecond + nanoseconds;
  }

  /// Check that nothing but the padding to 4 bytes is left.
  void end() const
  {
    const View rest = data_.part(at_);
    if (rest.size() > 3 || !all_zero(rest)) {throw malformed("the message has bytes after its end");}
  }

private:
  static Error malformed(const std::string & what) {return Error(Reason::malformed, what);}

  View data_;
  std::size_t at_ = 0;
  bool little_ = true;
};

class CdrWriter
{
public:
  template<typename T>
  void number(T value)
  {
    data_.resize(data_.size() + (sizeof(T) - data_.size() % sizeof(T)) % sizeof(T));
    const auto bits = static_cast<std::uint64_t>(value);
    for (std::size_t at = 0; at < sizeof(T); ++at) {data_.push_back(static_cast<std::uint8_t>(bits >> (8 * at)));}
  }
  void raw(View bytes) {append(data_, bytes);}
  void octets(View bytes)
  {
    number(static_cast<std::uint32_t>(bytes.size()));
    append(data_, bytes);
  }
  void text(const std::string & value)
  {
    number(static_cast<std::uint32_t>(value.size() + 1));
    append(data_, View(std::string_view(value)));
    data_.push_back(0);
  }
  void time(std::uint64_t nanoseconds)
  {
    number(static_cast<std::int32_t>(nanoseconds / kNanosecondsPerSecond));
    number(static_cast<std::uint32_t>(nanoseconds % kNanosecondsPerSecond));
  }
  /// Encapsulation header, body, zero padding to 4 bytes.
  Bytes payload() const
  {
    Bytes whole{0, 1, 0, 0};
    append(whole, data_);
    whole.resize((whole.size() + 3) & ~std::size_t{3});
    return whole;
  }

private:
  Bytes data_;
};

}  // namespace detail
}  // namespace og_ros

#endif  // OG_ROS__DETAIL__CDR_HPP_
