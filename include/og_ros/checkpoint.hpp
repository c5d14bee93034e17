// C2SP signed notes, checkpoints and log proofs (c2sp.org/signed-note, /tlog-checkpoint, /tlog-proof), read strictly.
#ifndef OG_ROS__CHECKPOINT_HPP_
#define OG_ROS__CHECKPOINT_HPP_

#include <openssl/evp.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "og_ros/detail/utf8.hpp"
#include "og_ros/keys.hpp"
#include "og_ros/merkle.hpp"

namespace og_ros
{

constexpr std::size_t kMaxNote = 1'000'000;

namespace detail
{

inline Error bad_note(const std::string & what) {return Error(Reason::malformed, what);}

/// Standard base64 (RFC 4648 section 4) in its one canonical form.
inline Bytes decode_base64(std::string_view text)
{
  if (text.size() % 4) {throw bad_note("base64 of a length that it cannot have");}
  Bytes data;
  data.reserve(text.size() / 4 * 3);
  for (std::size_t at = 0; at < text.size(); at += 4) {
    std::uint32_t group = 0;
    std::size_t padding = 0;
    for (std::size_t place = at; place < at + 4; ++place) {
      const char c = text[place];
      std::uint32_t value = 0;
      if (c >= 'A' && c <= 'Z') {
        value = static_cast<std::uint32_t>(c - 'A');
      } else if (c >= 'a' && c <= 'z') {
        value = static_cast<std::uint32_t>(c - 'a') + 26;
      } else if (c >= '0' && c <= '9') {
        value = static_cast<std::uint32_t>(c - '0') + 52;
      } else if (c == '+') {
        value = 62;
      } else if (c == '/') {
        value = 63;
      } else if (c == '=' && at + 4 == text.size() && place >= at + 2) {
        ++padding;
      } else {
        throw bad_note("not base64");
      }
      if (padding && c != '=') {throw bad_note("not base64");}
      group = group << 6 | value;
    }
    if ((padding == 1 && (group & 0xFF)) || (padding == 2 && (group & 0xFFFF))) {
      throw bad_note("base64 is not canonical");
    }
    for (std::size_t byte = 0; byte < 3 - padding; ++byte) {
      data.push_back(static_cast<std::uint8_t>(group >> (16 - 8 * byte)));
    }
  }
  return data;
}

inline std::vector<std::string_view> split(std::string_view text, char at)
{
  std::vector<std::string_view> parts;
  for (std::size_t found = 0; (found = text.find(at)) != std::string_view::npos; text.remove_prefix(found + 1)) {
    parts.push_back(text.substr(0, found));
  }
  parts.push_back(text);
  return parts;
}

inline bool has_control(std::string_view text)
{
  return std::any_of(text.begin(), text.end(), [](char c) {return static_cast<unsigned char>(c) < 0x20;});
}

inline void check_key_name(std::string_view name)
{
  if (name.empty()) {throw bad_note("a key name is empty");}
  View rest(name);
  std::uint32_t point = 0;
  while (!rest.empty()) {
    if (!next_code_point(rest, point)) {throw bad_note("a key name is not UTF-8");}
    if (is_space(point) || point == '+' || point < 0x20) {
      throw bad_note("a key name has a space, a plus or a control character");
    }
  }
}

/// An ASCII decimal without sign or leading zeros, at most 2^63 - 1.
inline std::uint64_t decimal(std::string_view text)
{
  const bool digits = !text.empty() && text.size() <= 19 &&
    std::all_of(text.begin(), text.end(), [](char c) {return c >= '0' && c <= '9';});
  if (!digits || (text[0] == '0' && text.size() > 1)) {throw bad_note("not a decimal without leading zeros");}
  std::uint64_t value = 0;
  for (const char c : text) {value = value * 10 + static_cast<std::uint64_t>(c - '0');}
  if (value > kMaxTreeSize) {throw bad_note("a number is out of range");}
  return value;
}

inline Digest hash_of(std::string_view text)
{
  const Bytes data = decode_base64(text);
  Digest value{};
  if (data.size() != value.size()) {throw bad_note("a hash is not 32 bytes long");}
  std::copy(data.begin(), data.end(), value.begin());
  return value;
}

}  // namespace detail

/// The public half of a log's Ed25519 key; its text form is `name+hexid+base64(type || key)`.
class NoteKey
{
public:
  explicit NoteKey(std::string_view vkey)
  {
    const std::size_t first = vkey.find('+');
    const std::size_t second = first == vkey.npos ? vkey.npos : vkey.find('+', first + 1);
    if (second == vkey.npos) {throw detail::bad_note("a verifier key is not name+id+key");}
    name_ = vkey.substr(0, first);
    detail::check_key_name(name_);
    const Bytes data = detail::decode_base64(vkey.substr(second + 1));
    if (data.size() != 33 || data[0] != 1) {throw detail::bad_note("the verifier key is not an Ed25519 key");}
    const Digest hash = detail::Sha256().update(View(std::string_view(name_))).update(std::string_view("\n"))
      .update(data).finish();
    id_ = View(hash).part(0, 4).copy();
    if (hex(id_) != vkey.substr(first + 1, second - first - 1)) {
      throw detail::bad_note("the verifier key's id does not match the key");
    }
    key_.reset(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, data.data() + 1, 32));
    if (!key_) {throw Error(Reason::library, "OpenSSL cannot read the verifier key");}
  }

  const std::string & name() const {return name_;}
  View id() const {return id_;}

  bool holds(std::string_view text, View signature) const
  {
    const detail::MdContext context(EVP_MD_CTX_new());
    if (!context || EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key_.get()) != 1) {
      throw Error(Reason::library, "OpenSSL cannot verify with the log's key");
    }
    const View message(text);
    const int holds = EVP_DigestVerify(
      context.get(), signature.data(), signature.size(), message.data(), message.size());
    ERR_clear_error();
    return holds == 1;
  }

private:
  std::string name_;
  Bytes id_;
  detail::Key key_;
};

/// A tree head: the log's identity, its number of leaves, and the RFC 6962 root over them.
struct Checkpoint
{
  std::string origin;
  std::uint64_t size = 0;
  Digest root{};
  std::vector<std::string> extensions;
};

namespace detail
{

/// The text of a note, once `key` is found to have signed it; signatures of other keys are ignored.
inline std::string_view open_note(std::string_view note, const NoteKey & key)
{
  if (note.size() > kMaxNote) {throw bad_note("the note is too long");}
  if (!is_utf8(View(note))) {throw bad_note("the note is not UTF-8");}
  if (note.empty() || note.back() != '\n') {throw bad_note("the note does not end in a newline");}
  for (const char c : note) {
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n') {throw bad_note("the note has a control character");}
  }
  const std::size_t blank = note.rfind("\n\n");
  if (blank == note.npos || blank + 2 == note.size()) {
    throw bad_note("the note has no blank line followed by signatures");
  }
  const std::string_view text = note.substr(0, blank + 1);
  const auto lines = split(note.substr(blank + 2, note.size() - blank - 3), '\n');
  if (lines.size() > 100) {throw bad_note("the note has too many signatures");}
  std::vector<Bytes> mine;
  for (const auto & line : lines) {
    static constexpr std::string_view start = "\xE2\x80\x94 ";
    if (line.substr(0, start.size()) != start) {throw bad_note("a signature line is malformed");}
    const auto fields = split(line.substr(start.size()), ' ');
    if (fields.size() != 2) {throw bad_note("a signature line is malformed");}
    check_key_name(fields[0]);
    Bytes data = decode_base64(fields[1]);
    if (data.size() < 5) {throw bad_note("a signature is too short");}
    if (fields[0] == key.name() && View(data).part(0, 4) == key.id()) {mine.push_back(std::move(data));}
  }
  if (mine.empty()) {throw Error(Reason::unsigned_note, "the note is not signed by " + key.name());}
  for (const auto & data : mine) {
    if (!key.holds(text, View(data).part(4))) {
      throw Error(Reason::note, "the signature of " + key.name() + " is wrong");
    }
  }
  return text;
}

inline Checkpoint parse_checkpoint(std::string_view text)
{
  const auto lines = split(text.substr(0, text.size() - 1), '\n');
  if (lines.size() < 3) {throw bad_note("the checkpoint has fewer lines than origin, size and root");}
  Checkpoint checkpoint;
  checkpoint.origin = lines[0];
  checkpoint.size = decimal(lines[1]);
  checkpoint.root = hash_of(lines[2]);
  checkpoint.extensions.assign(lines.begin() + 3, lines.end());
  if (checkpoint.origin.empty()) {throw bad_note("the checkpoint has no origin");}
  for (const auto & line : checkpoint.extensions) {
    if (line.empty() || has_control(line)) {throw bad_note("the checkpoint has an empty extension line");}
  }
  if (checkpoint.size == 0 && checkpoint.root != sha256(View())) {
    throw bad_note("a checkpoint of an empty log with another root than the empty one");
  }
  return checkpoint;
}

}  // namespace detail

/// Verify a checkpoint note with the log's key; `origin` is the log that is expected, by default the key's name.
/// Throws Error when it is malformed, not signed by the key, wrongly signed, or speaks for another log.
inline Checkpoint open_checkpoint(
  std::string_view note, const NoteKey & key, const std::optional<std::string> & origin = std::nullopt)
{
  Checkpoint checkpoint = detail::parse_checkpoint(detail::open_note(note, key));
  if (checkpoint.origin != origin.value_or(key.name())) {
    throw Error(Reason::origin, "the checkpoint speaks for the log '" + checkpoint.origin + "'");
  }
  return checkpoint;
}

/// Check that `leaf` (the bytes as logged: an attestation's `cose`) is in the log that `key` signs; returns the
/// checkpoint that covers it. Throws Error.
inline Checkpoint verify_log_proof(
  View leaf, std::string_view proof, const NoteKey & key, const std::optional<std::string> & origin = std::nullopt)
{
  using detail::bad_note;
  if (proof.size() > 2 * kMaxNote) {throw bad_note("the log proof is too long");}
  if (!detail::is_utf8(View(proof))) {throw bad_note("the log proof is not UTF-8");}
  const std::size_t blank = proof.find("\n\n");
  if (blank == proof.npos) {throw bad_note("the log proof has no empty line before a checkpoint");}
  const auto lines = detail::split(proof.substr(0, blank), '\n');
  std::size_t at = 0;
  if (lines[at++] != "c2sp.org/tlog-proof@v1") {throw bad_note("the log proof does not start as one does");}
  if (at < lines.size() && lines[at].substr(0, 6) == "extra ") {detail::decode_base64(lines[at++].substr(6));}
  if (at >= lines.size() || lines[at].substr(0, 6) != "index ") {throw bad_note("the log proof has no index line");}
  const std::uint64_t index = detail::decimal(lines[at++].substr(6));
  if (lines.size() - at > 63) {throw bad_note("the log proof has too many hashes");}
  std::vector<Digest> path;
  for (; at < lines.size(); ++at) {path.push_back(detail::hash_of(lines[at]));}
  const Checkpoint checkpoint = open_checkpoint(proof.substr(blank + 2), key, origin);
  verify_inclusion(leaf_hash(leaf), index, checkpoint.size, path, checkpoint.root);
  return checkpoint;
}

}  // namespace og_ros

#endif  // OG_ROS__CHECKPOINT_HPP_
