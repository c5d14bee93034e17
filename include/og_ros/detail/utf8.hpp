// Text: strict UTF-8 (RFC 3629), and the characters that no field of a statement may hold.
#ifndef OG_ROS__DETAIL__UTF8_HPP_
#define OG_ROS__DETAIL__UTF8_HPP_

#include <cstdint>

#include "og_ros/detail/bytes.hpp"

namespace og_ros
{
namespace detail
{

/// Take one code point from the front of `rest`; false where there is none in valid UTF-8.
inline bool next_code_point(View & rest, std::uint32_t & point)
{
  if (rest.empty()) {return false;}
  const std::uint8_t first = rest[0];
  std::size_t length = 1;
  if (first < 0x80) {
    point = first;
  } else if (first >= 0xC2 && first < 0xE0) {
    length = 2;
    point = first & 0x1Fu;
  } else if (first >= 0xE0 && first < 0xF0) {
    length = 3;
    point = first & 0x0Fu;
  } else if (first >= 0xF0 && first < 0xF5) {
    length = 4;
    point = first & 0x07u;
  } else {
    return false;
  }
  if (rest.size() < length) {return false;}
  for (std::size_t at = 1; at < length; ++at) {
    if ((rest[at] & 0xC0) != 0x80) {return false;}
    point = point << 6 | (rest[at] & 0x3Fu);
  }
  const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
  if (overlong || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) {return false;}
  rest = rest.part(length);
  return true;
}

inline bool is_utf8(View text)
{
  std::uint32_t point = 0;
  while (!text.empty()) {
    if (!next_code_point(text, point)) {return false;}
  }
  return true;
}

/// Controls, line breaks, and what hides or reorders text; the list of og_ros.attest.statement.HIDDEN_CHARACTERS.
inline bool is_hidden(std::uint32_t c)
{
  return c < 0x20 || (c >= 0x7F && c <= 0x9F) || c == 0xAD || c == 0x061C || c == 0x180E ||
         (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) ||
         c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFF) || (c >= 0xE0000 && c <= 0xE007F);
}

/// White space as Unicode has it, and the separators that Python's str.isspace() counts too.
inline bool is_space(std::uint32_t c)
{
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace detail
}  // namespace og_ros

#endif  // OG_ROS__DETAIL__UTF8_HPP_
