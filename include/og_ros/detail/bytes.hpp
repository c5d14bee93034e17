// Bytes as these headers pass them around: owned, borrowed, and of a digest's size; and SHA-256 over them.
#ifndef OG_ROS__DETAIL__BYTES_HPP_
#define OG_ROS__DETAIL__BYTES_HPP_

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "og_ros/detail/error.hpp"

namespace og_ros
{

using Bytes = std::vector<std::uint8_t>;
using Digest = std::array<std::uint8_t, 32>;
using SessionId = std::array<std::uint8_t, 16>;

/// Bytes that somebody else owns.
class View
{
public:
  View() = default;
  View(const std::uint8_t * data, std::size_t size)
  : data_(data), size_(size) {}
  View(const Bytes & bytes)  // NOLINT(runtime/explicit): meant to convert
  : data_(bytes.data()), size_(bytes.size()) {}
  View(std::string_view text)  // NOLINT(runtime/explicit): meant to convert
  : data_(reinterpret_cast<const std::uint8_t *>(text.data())), size_(text.size()) {}
  template<std::size_t N>
  View(const std::array<std::uint8_t, N> & bytes)  // NOLINT(runtime/explicit): meant to convert
  : data_(bytes.data()), size_(N) {}

  const std::uint8_t * data() const {return data_;}
  std::size_t size() const {return size_;}
  bool empty() const {return size_ == 0;}
  const std::uint8_t * begin() const {return data_;}
  const std::uint8_t * end() const {return data_ + size_;}
  std::uint8_t operator[](std::size_t at) const {return data_[at];}

  /// The part from `at`, at most `size` bytes long; empty past the end.
  View part(std::size_t at, std::size_t size = SIZE_MAX) const
  {
    if (at >= size_) {return {};}
    return {data_ + at, size < size_ - at ? size : size_ - at};
  }
  Bytes copy() const {return size_ ? Bytes(data_, data_ + size_) : Bytes();}
  std::string_view text() const {return {reinterpret_cast<const char *>(data_), size_};}

  friend bool operator==(View a, View b)
  {
    return a.size_ == b.size_ && (a.size_ == 0 || std::memcmp(a.data_, b.data_, a.size_) == 0);
  }
  friend bool operator!=(View a, View b) {return !(a == b);}

private:
  const std::uint8_t * data_ = nullptr;
  std::size_t size_ = 0;
};

inline void append(Bytes & target, View more) {target.insert(target.end(), more.begin(), more.end());}

inline bool all_zero(View bytes)
{
  for (const std::uint8_t byte : bytes) {
    if (byte) {return false;}
  }
  return true;
}

inline std::string hex(View bytes)
{
  static const char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::uint8_t byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

namespace detail
{

/// A SHA-256 that is fed in parts.
class Sha256
{
public:
  Sha256()
  : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free)
  {
    if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) {failed();}
  }

  Sha256 & update(View bytes)
  {
    if (!bytes.empty() && EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) {failed();}
    return *this;
  }

  Digest finish()
  {
    Digest digest{};
    if (EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) != 1) {failed();}
    return digest;
  }

private:
  [[noreturn]] static void failed() {throw Error(Reason::library, "OpenSSL cannot compute SHA-256");}
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

inline Digest sha256(View bytes) {return Sha256().update(bytes).finish();}

}  // namespace detail
}  // namespace og_ros

#endif  // OG_ROS__DETAIL__BYTES_HPP_
