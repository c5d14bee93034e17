// RFC 6962 / RFC 9162 SHA-256 Merkle trees: hashes, and the checks of inclusion and consistency proofs.
#ifndef OG_ROS__MERKLE_HPP_
#define OG_ROS__MERKLE_HPP_

#include <cstdint>
#include <string>
#include <vector>

#include "og_ros/detail/bytes.hpp"

namespace og_ros
{

constexpr std::uint64_t kMaxTreeSize = (std::uint64_t{1} << 63) - 1;

/// SHA-256(0x00 || data).
inline Digest leaf_hash(View data)
{
  static const std::uint8_t prefix = 0;
  return detail::Sha256().update(View(&prefix, 1)).update(data).finish();
}

/// SHA-256(0x01 || left || right).
inline Digest node_hash(const Digest & left, const Digest & right)
{
  static const std::uint8_t prefix = 1;
  return detail::Sha256().update(View(&prefix, 1)).update(left).update(right).finish();
}

/// Root over a row of leaf hashes: level by level, an odd last one promoted, as RFC 9162 section 2.1.1 defines it.
inline Digest root_of(std::vector<Digest> level)
{
  if (level.empty()) {return detail::sha256(View());}
  while (level.size() > 1) {
    std::size_t to = 0;
    for (std::size_t from = 0; from < level.size(); from += 2, ++to) {
      level[to] = from + 1 < level.size() ? node_hash(level[from], level[from + 1]) : level[from];
    }
    level.resize(to);
  }
  return level.front();
}

/// Check an inclusion proof (RFC 9162 section 2.1.3.2); `leaf` is the leaf's hash. Throws Error(proof).
inline void verify_inclusion(
  const Digest & leaf, std::uint64_t index, std::uint64_t size, const std::vector<Digest> & path, const Digest & root)
{
  if (size > kMaxTreeSize || index >= size) {
    throw Error(Reason::proof, "inclusion proof: the index is not in the tree");
  }
  std::uint64_t position = index, last = size - 1;
  Digest computed = leaf;
  for (const Digest & sibling : path) {
    if (last == 0) {throw Error(Reason::proof, "inclusion proof: too many hashes");}
    if ((position & 1) || position == last) {
      computed = node_hash(sibling, computed);
      while (!(position & 1) && position) {
        position >>= 1;
        last >>= 1;
      }
    } else {
      computed = node_hash(computed, sibling);
    }
    position >>= 1;
    last >>= 1;
  }
  if (last) {throw Error(Reason::proof, "inclusion proof: too few hashes");}
  if (computed != root) {throw Error(Reason::proof, "inclusion proof: it gives another root");}
}

/// Check a consistency proof (RFC 9162 section 2.1.4.2). Throws Error(proof).
inline void verify_consistency(
  std::uint64_t first, std::uint64_t second, std::vector<Digest> path, const Digest & first_root,
  const Digest & second_root)
{
  const auto fail = [](const char * why) {
      return Error(Reason::proof, std::string("consistency proof: ") + why);
    };
  if (first > second || second > kMaxTreeSize) {throw fail("the sizes do not grow");}
  if (first == 0 || first == second) {
    if (!path.empty()) {throw fail("it must be empty");}
    if (first == second && first_root != second_root) {throw fail("two roots for one size, the log was forked");}
    if (first == 0 && first_root != detail::sha256(View())) {throw fail("the root of the empty tree is wrong");}
    return;
  }
  if (path.empty()) {throw fail("it is empty");}
  if ((first & (first - 1)) == 0) {path.insert(path.begin(), first_root);}
  std::uint64_t position = first - 1, last = second - 1;
  while (position & 1) {
    position >>= 1;
    last >>= 1;
  }
  Digest before = path.front(), after = path.front();
  for (std::size_t at = 1; at < path.size(); ++at) {
    if (last == 0) {throw fail("too many hashes");}
    if ((position & 1) || position == last) {
      before = node_hash(path[at], before);
      after = node_hash(path[at], after);
      while (!(position & 1) && position) {
        position >>= 1;
        last >>= 1;
      }
    } else {
      after = node_hash(after, path[at]);
    }
    position >>= 1;
    last >>= 1;
  }
  if (last) {throw fail("too few hashes");}
  if (before != first_root) {throw fail("it does not give the first root; history was rewritten");}
  if (after != second_root) {throw fail("it does not give the second root");}
}

}  // namespace og_ros

#endif  // OG_ROS__MERKLE_HPP_
