// A statement's deterministic CBOR: a map of the field names of msg/Attestation.msg, keys by length and then by bytes.
#ifndef OG_ROS__DETAIL__STATEMENT_CBOR_HPP_
#define OG_ROS__DETAIL__STATEMENT_CBOR_HPP_

#include <algorithm>
#include <string>
#include <vector>

#include "og_ros/detail/cbor.hpp"
#include "og_ros/statement.hpp"

namespace og_ros
{
namespace detail
{

constexpr std::size_t kMaxStatementSize = 60'000;

inline void write_references(CborWriter & writer, const std::vector<DataReference> & references)
{
  writer.array(references.size());
  for (const auto & reference : references) {
    writer.map(8);
    writer.text("size");
    writer.number(reference.size);
    writer.text("type");
    writer.text(reference.type);
    writer.text("stamp");
    writer.number(reference.stamp);
    writer.text("topic");
    writer.text(reference.topic);
    writer.text("digest");
    writer.bytes(reference.digest);
    writer.text("disclosure");
    writer.number(static_cast<std::uint64_t>(reference.disclosure));
    writer.text("attestation");
    writer.bytes(reference.attestation);
    writer.text("digest_algorithm");
    writer.text(reference.digest_algorithm);
  }
}

inline void check_statement_size(std::size_t size)
{
  if (size > kMaxStatementSize) {
    throw Error(Reason::bounds, "the statement is " + std::to_string(size) + " bytes long; 60000 are allowed");
  }
}

/// The deterministic CBOR of a statement; throws Error when a field is out of bounds.
inline Bytes encode_statement(const Statement & s)
{
  check(s);
  CborWriter writer;
  writer.map(20);
  writer.text("node");
  writer.text(s.node);
  writer.text("clock");
  writer.number(static_cast<std::uint64_t>(s.clock));
  writer.text("model");
  writer.map(5);
  writer.text("name");
  writer.text(s.model.name);
  writer.text("digest");
  writer.bytes(s.model.digest);
  writer.text("format");
  writer.text(s.model.format);
  writer.text("version");
  writer.text(s.model.version);
  writer.text("digest_algorithm");
  writer.text(s.model.digest_algorithm);
  writer.text("robot");
  writer.text(s.robot);
  writer.text("stage");
  writer.text(s.stage);
  writer.text("start");
  writer.number(s.start);
  writer.text("inputs");
  write_references(writer, s.inputs);
  writer.text("key_id");
  writer.bytes(s.key_id);
  writer.text("outputs");
  write_references(writer, s.outputs);
  writer.text("runtime");
  writer.map(6);
  writer.text("cpu");
  writer.text(s.runtime.cpu);
  writer.text("name");
  writer.text(s.runtime.name);
  writer.text("options");
  writer.text(s.runtime.options);
  writer.text("version");
  writer.text(s.runtime.version);
  writer.text("provider");
  writer.text(s.runtime.provider);
  writer.text("processing_digest");
  writer.bytes(s.runtime.processing_digest);
  writer.text("session");
  writer.bytes(s.session);
  writer.text("previous");
  writer.bytes(s.previous);
  writer.text("sequence");
  writer.number(s.sequence);
  writer.text("algorithm");
  writer.integer(static_cast<std::int64_t>(s.algorithm));
  writer.text("mode_used");
  writer.number(static_cast<std::uint64_t>(s.mode_used));
  writer.text("signed_at");
  writer.number(s.signed_at);
  writer.text("duration_ns");
  writer.number(s.duration_ns);
  writer.text("format_version");
  writer.number(s.format_version);
  writer.text("mode_requested");
  writer.number(static_cast<std::uint64_t>(s.mode_requested));
  writer.text("start_monotonic_ns");
  writer.number(s.start_monotonic_ns);
  Bytes data = writer.take();
  check_statement_size(data.size());
  return data;
}

template<std::size_t N>
void read_array(CborReader & reader, std::array<std::uint8_t, N> & target)
{
  const View found = reader.bytes();
  if (found.size() != N) {
    throw Error(
            Reason::bounds, "a field of the statement is " + std::to_string(found.size()) + " bytes long, not " +
            std::to_string(N));
  }
  std::copy(found.begin(), found.end(), target.begin());
}

/// A number of at most `most`, so that it cannot be cut to one that means something.
inline std::uint64_t read_small(CborReader & reader, std::uint64_t most)
{
  const std::uint64_t value = reader.number();
  if (value > most) {
    throw Error(Reason::bounds, "the statement has a number that is not known: " + std::to_string(value));
  }
  return value;
}

inline std::vector<DataReference> read_references(CborReader & reader)
{
  const std::uint64_t count = reader.array();
  if (count > kMaxReferences) {throw Error(Reason::bounds, "the statement has too many data references");}
  std::vector<DataReference> references(static_cast<std::size_t>(count));
  for (auto & reference : references) {
    reader.map(8);
    reader.key("size");
    reference.size = reader.number();
    reader.key("type");
    reference.type = reader.text();
    reader.key("stamp");
    reference.stamp = reader.number();
    reader.key("topic");
    reference.topic = reader.text();
    reader.key("digest");
    read_array(reader, reference.digest);
    reader.key("disclosure");
    reference.disclosure = static_cast<Disclosure>(read_small(reader, 2));
    reader.key("attestation");
    reference.attestation = reader.bytes().copy();
    reader.key("digest_algorithm");
    reference.digest_algorithm = reader.text();
  }
  return references;
}

/// Read a statement back; throws Error for anything but the one deterministic encoding of it.
inline Statement decode_statement(View data)
{
  check_statement_size(data.size());
  CborReader reader(data);
  Statement s;
  reader.map(20);
  reader.key("node");
  s.node = reader.text();
  reader.key("clock");
  s.clock = static_cast<Clock>(read_small(reader, 2));
  reader.key("model");
  reader.map(5);
  reader.key("name");
  s.model.name = reader.text();
  reader.key("digest");
  read_array(reader, s.model.digest);
  reader.key("format");
  s.model.format = reader.text();
  reader.key("version");
  s.model.version = reader.text();
  reader.key("digest_algorithm");
  s.model.digest_algorithm = reader.text();
  reader.key("robot");
  s.robot = reader.text();
  reader.key("stage");
  s.stage = reader.text();
  reader.key("start");
  s.start = reader.number();
  reader.key("inputs");
  s.inputs = read_references(reader);
  reader.key("key_id");
  read_array(reader, s.key_id);
  reader.key("outputs");
  s.outputs = read_references(reader);
  reader.key("runtime");
  reader.map(6);
  reader.key("cpu");
  s.runtime.cpu = reader.text();
  reader.key("name");
  s.runtime.name = reader.text();
  reader.key("options");
  s.runtime.options = reader.text();
  reader.key("version");
  s.runtime.version = reader.text();
  reader.key("provider");
  s.runtime.provider = reader.text();
  reader.key("processing_digest");
  read_array(reader, s.runtime.processing_digest);
  reader.key("session");
  read_array(reader, s.session);
  reader.key("previous");
  read_array(reader, s.previous);
  reader.key("sequence");
  s.sequence = reader.number();
  reader.key("algorithm");
  s.algorithm = static_cast<Algorithm>(reader.integer());
  reader.key("mode_used");
  s.mode_used = static_cast<Mode>(read_small(reader, 4));
  reader.key("signed_at");
  s.signed_at = reader.number();
  reader.key("duration_ns");
  s.duration_ns = reader.number();
  reader.key("format_version");
  s.format_version = static_cast<std::uint16_t>(read_small(reader, 0xFFFF));
  reader.key("mode_requested");
  s.mode_requested = static_cast<Mode>(read_small(reader, 4));
  reader.key("start_monotonic_ns");
  s.start_monotonic_ns = reader.number();
  reader.end();
  if (View(encode_statement(s)) != data) {
    throw Error(Reason::malformed, "the statement is not in its deterministic encoding");
  }
  return s;
}

}  // namespace detail
}  // namespace og_ros

#endif  // OG_ROS__DETAIL__STATEMENT_CBOR_HPP_
