// The statement: what one attestation says, as plain data, with the bounds of msg/Attestation.msg.
#ifndef OG_ROS__STATEMENT_HPP_
#define OG_ROS__STATEMENT_HPP_

#include <cstdint>
#include <string>
#include <vector>

#include "og_ros/detail/bytes.hpp"
#include "og_ros/detail/utf8.hpp"

namespace og_ros
{

constexpr std::uint16_t kFormatVersion = 1;
constexpr std::size_t kMaxReferences = 32;
constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr std::uint64_t kMaxTime = (std::uint64_t{1} << 31) * kNanosecondsPerSecond - 1;

enum class Clock : std::uint8_t {system = 1, sim = 2};
enum class Mode : std::uint8_t {signed_only = 1, observed = 2, tee = 3, zk = 4};
enum class Disclosure : std::uint8_t {clear = 0, committed = 1, absent = 2};
/// COSE algorithms (RFC 9053).
enum class Algorithm : std::int32_t {es256 = -7, eddsa = -8};

/// A message that was read or written, by the digest of its CDR bytes.
struct DataReference
{
  std::string topic;
  std::string type;
  std::string digest_algorithm = "sha256";
  Digest digest{};
  std::uint64_t size = 0;          ///< bytes that the digest covers
  std::uint64_t stamp = 0;         ///< header.stamp, ns; 0 where the type has none
  Bytes attestation;               ///< input: digest of the attestation whose output it was, 32 bytes; or empty
  Disclosure disclosure = Disclosure::clear;
};

/// The model that ran, by the SHA-256 of the bytes that were loaded.
struct ModelReference
{
  std::string name;
  std::string version;
  std::string format = "onnx";
  std::string digest_algorithm = "sha256";
  Digest digest{};
};

/// What executed the model, and the digest of the pre- and post-processing around it.
struct Runtime
{
  std::string name;
  std::string version;
  std::string provider;
  std::string options;
  std::string cpu;
  Digest processing_digest{};
};

/// Everything that a signature covers; fields as in msg/Attestation.msg, times in nanoseconds.
struct Statement
{
  std::uint16_t format_version = kFormatVersion;
  std::string robot;
  std::string stage;
  std::string node;
  SessionId session{};
  std::uint64_t sequence = 0;
  Digest previous{};
  ModelReference model;
  Runtime runtime;
  std::vector<DataReference> inputs;
  std::vector<DataReference> outputs;
  std::uint64_t start = 0;
  Clock clock = Clock::system;
  std::uint64_t start_monotonic_ns = 0;
  std::uint64_t duration_ns = 0;
  std::uint64_t signed_at = 0;
  Mode mode_requested = Mode::signed_only;
  Mode mode_used = Mode::signed_only;
  Digest key_id{};
  Algorithm algorithm = Algorithm::es256;
};

/// A statement with its signature, its COSE_Sign1 form (the log's leaf), the bytes signed, and the digest of the form.
struct Attestation
{
  Statement statement;
  Bytes signature;
  Bytes signed_bytes;
  Bytes cose;
  Digest digest{};
};

namespace detail
{

inline void check_text(const char * name, const std::string & text, std::size_t bound, bool required)
{
  if (required && text.empty()) {throw Error(Reason::bounds, std::string(name) + " is empty");}
  if (text.size() > bound) {
    throw Error(
            Reason::bounds, std::string(name) + " is " + std::to_string(text.size()) + " bytes long; " +
            std::to_string(bound) + " are allowed");
  }
  View rest{std::string_view(text)};
  std::uint32_t point = 0;
  while (!rest.empty()) {
    if (!next_code_point(rest, point)) {throw Error(Reason::malformed, std::string(name) + " is not UTF-8");}
    if (is_hidden(point)) {
      throw Error(Reason::bounds, std::string(name) + " has a control or hidden character");
    }
  }
}

inline void check_time(const char * name, std::uint64_t value)
{
  if (value > kMaxTime) {throw Error(Reason::bounds, std::string(name) + " does not fit a ROS time");}
}

inline void check_reference(const char * side, const DataReference & reference, bool is_output)
{
  check_text("topic", reference.topic, 255, true);
  check_text("type", reference.type, 255, true);
  check_text("digest_algorithm", reference.digest_algorithm, 16, true);
  check_time("stamp", reference.stamp);
  if (!reference.attestation.empty()) {
    if (is_output) {throw Error(Reason::bounds, "an output names no attestation: it is its own attestation's output");}
    if (reference.attestation.size() != 32) {
      throw Error(Reason::bounds, std::string(side) + ".attestation is not 32 bytes long");
    }
  }
  if (reference.disclosure > Disclosure::absent) {
    throw Error(Reason::bounds, std::string(side) + ".disclosure is not known");
  }
  if ((reference.disclosure == Disclosure::absent) != all_zero(reference.digest)) {
    throw Error(
            Reason::bounds, std::string(side) + ": a digest is all zero when disclosure is ABSENT, and only then");
  }
}

inline bool is_mode(Mode mode) {return mode >= Mode::signed_only && mode <= Mode::zk;}

}  // namespace detail

/// Throw Error when a field is outside msg/Attestation.msg's bounds.
inline void check(const Statement & s)
{
  using detail::check_text;
  if (s.format_version != kFormatVersion) {
    throw Error(Reason::bounds, "format_version is " + std::to_string(s.format_version) + "; this software knows 1");
  }
  check_text("robot", s.robot, 128, true);
  check_text("stage", s.stage, 128, true);
  check_text("node", s.node, 255, true);
  detail::check_time("start", s.start);
  detail::check_time("signed_at", s.signed_at);
  if ((s.sequence == 0) != all_zero(s.previous)) {
    throw Error(Reason::bounds, "previous must be zero at sequence 0 and only there");
  }
  check_text("model.name", s.model.name, 128, true);
  check_text("model.version", s.model.version, 64, false);
  check_text("model.format", s.model.format, 32, true);
  check_text("model.digest_algorithm", s.model.digest_algorithm, 16, true);
  check_text("runtime.name", s.runtime.name, 64, false);
  check_text("runtime.version", s.runtime.version, 64, false);
  check_text("runtime.provider", s.runtime.provider, 64, false);
  check_text("runtime.options", s.runtime.options, 512, false);
  check_text("runtime.cpu", s.runtime.cpu, 128, false);
  for (const auto * references : {&s.inputs, &s.outputs}) {
    const bool is_output = references == &s.outputs;
    const char * side = is_output ? "outputs" : "inputs";
    // Without inputs it is a source's: where data begins.
    if ((is_output && references->empty()) || references->size() > kMaxReferences) {
      throw Error(
              Reason::bounds, std::string(side) + " has " + std::to_string(references->size()) +
              " references; " + (is_output ? "1" : "0") + " to 32 are allowed");
    }
    for (const auto & reference : *references) {detail::check_reference(side, reference, is_output);}
  }
  if (s.clock != Clock::system && s.clock != Clock::sim) {throw Error(Reason::bounds, "clock is not known");}
  if (!detail::is_mode(s.mode_requested) || !detail::is_mode(s.mode_used)) {
    throw Error(Reason::bounds, "a verification mode is not known");
  }
  if (s.algorithm != Algorithm::es256 && s.algorithm != Algorithm::eddsa) {
    throw Error(Reason::bounds, "algorithm is not known");
  }
}

}  // namespace og_ros

#endif  // OG_ROS__STATEMENT_HPP_
