// The digest rule: one digest for a message, whichever middleware carried it and whichever recorder stored it.
#ifndef OG_ROS__DIGEST_HPP_
#define OG_ROS__DIGEST_HPP_

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "og_ros/merkle.hpp"
#include "og_ros/statement.hpp"

namespace og_ros
{
namespace detail
{

constexpr std::size_t kChunkSize = 65'536;

inline View header_without_options(View payload, Digest & room)
{
  room[0] = payload[0];
  room[1] = payload[1];
  room[2] = room[3] = 0;
  return View(room.data(), 4);
}

/// `sha256-tree` (docs/reference/digests.md): chunks of 64 KiB, a tree of RFC 6962's shape, sealed with the size.
inline Digest tree_digest(View payload, std::size_t covered)
{
  static const std::uint8_t zeros[3] = {};
  static const std::uint8_t leaf = 0, root = 2;
  std::vector<Digest> leaves;
  for (std::size_t at = 0; at < covered; at += kChunkSize) {
    Sha256 state;
    state.update(View(&leaf, 1));
    if (at == 0) {
      Digest room{};
      state.update(header_without_options(payload, room)).update(payload.part(4, kChunkSize - 4));
    } else {
      state.update(payload.part(at, kChunkSize));
    }
    if (at + kChunkSize > payload.size()) {state.update(View(zeros, covered - payload.size()));}
    leaves.push_back(state.finish());
  }
  std::array<std::uint8_t, 8> size{};
  for (std::size_t at = 0; at < 8; ++at) {
    size[at] = static_cast<std::uint8_t>(std::uint64_t{covered} >> (56 - 8 * at));
  }
  return Sha256().update(View(&root, 1)).update(size).update(root_of(std::move(leaves))).finish();
}

}  // namespace detail

/// How many bytes the digest of a CDR payload covers: its length, rounded up to a multiple of 4.
inline std::size_t covered_size(View payload) {return (payload.size() + 3) & ~std::size_t{3};}

/// Whether `digest` can compute an algorithm: "sha256" and "sha256-tree". OpenSSL has no "blake3".
inline bool is_computable(const std::string & algorithm) {return algorithm == "sha256" || algorithm == "sha256-tree";}

/// The digest of a message's CDR payload: the 4-byte encapsulation header with its options taken as zero, then the
/// body, zero-padded to a multiple of 4. Throws Error for a payload without header and for an unknown algorithm.
inline Digest digest(View payload, const std::string & algorithm = "sha256")
{
  static const std::uint8_t zeros[3] = {};
  if (payload.size() < 4) {throw Error(Reason::malformed, "a CDR payload has at least 4 bytes");}
  const std::size_t covered = covered_size(payload);
  if (algorithm == "sha256-tree") {return detail::tree_digest(payload, covered);}
  if (algorithm != "sha256") {
    throw Error(Reason::algorithm, "digest algorithm '" + algorithm + "' cannot be computed here");
  }
  Digest room{};
  return detail::Sha256()
         .update(detail::header_without_options(payload, room))
         .update(payload.part(4))
         .update(View(zeros, covered - payload.size()))
         .finish();
}

/// Name a message in an attestation, by its bytes as they travel; `stamp` is its header.stamp in ns, `attestation` the
/// digest of the attestation whose output it was, where that is known.
inline DataReference reference_to(
  std::string topic, std::string type, View payload, std::uint64_t stamp = 0, Bytes attestation = {},
  std::string algorithm = "sha256")
{
  DataReference reference;
  reference.digest = digest(payload, algorithm);
  reference.topic = std::move(topic);
  reference.type = std::move(type);
  reference.digest_algorithm = std::move(algorithm);
  reference.size = covered_size(payload);
  reference.stamp = stamp;
  reference.attestation = std::move(attestation);
  return reference;
}

/// Whether a message is the one that a reference in clear names; throws Error where that cannot be said.
inline bool matches(const DataReference & reference, View payload)
{
  if (reference.disclosure != Disclosure::clear) {
    throw Error(Reason::bounds, "the reference is not in clear: its message is hidden");
  }
  return reference.size == covered_size(payload) && reference.digest == digest(payload, reference.digest_algorithm);
}

}  // namespace og_ros

#endif  // OG_ROS__DIGEST_HPP_
