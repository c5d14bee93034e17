// The wire form of msg/Attestation: CDR read and written without ROS, always by our own definition of the type.
#ifndef OG_ROS__WIRE_HPP_
#define OG_ROS__WIRE_HPP_

#include <string>
#include <utility>
#include <vector>

#include "og_ros/cose.hpp"
#include "og_ros/detail/cdr.hpp"

namespace og_ros
{

constexpr const char * kAttestationType = "og_ros/msg/Attestation";
constexpr std::size_t kMaxMessageSize = 65'536;

namespace detail
{

constexpr std::size_t kMaxText = 512;

inline std::vector<DataReference> read_references(CdrReader & reader)
{
  const auto count = reader.number<std::uint32_t>();
  if (count > kMaxReferences) {throw Error(Reason::malformed, "the attestation has too many data references");}
  std::vector<DataReference> references(count);
  for (auto & reference : references) {
    reference.topic = reader.text(kMaxText);
    reference.type = reader.text(kMaxText);
    reference.digest_algorithm = reader.text(kMaxText);
    reader.take(reference.digest);
    reference.size = reader.number<std::uint64_t>();
    reference.stamp = reader.time();
    reference.attestation = reader.octets(32).copy();
    reference.disclosure = static_cast<Disclosure>(reader.number<std::uint8_t>());
  }
  return references;
}

inline void write_references(CdrWriter & writer, const std::vector<DataReference> & references)
{
  writer.number(static_cast<std::uint32_t>(references.size()));
  for (const auto & reference : references) {
    writer.text(reference.topic);
    writer.text(reference.type);
    writer.text(reference.digest_algorithm);
    writer.raw(reference.digest);
    writer.number(reference.size);
    writer.time(reference.stamp);
    writer.octets(reference.attestation);
    writer.number(static_cast<std::uint8_t>(reference.disclosure));
  }
}

}  // namespace detail

/// Read a serialised og_ros/msg/Attestation; throws Error. The signature is not checked.
inline Attestation decode_attestation(View payload)
{
  if (payload.size() > kMaxMessageSize) {
    throw Error(
            Reason::malformed, "the attestation is " + std::to_string(payload.size()) +
            " bytes long; 65536 are allowed");
  }
  detail::CdrReader reader(payload);
  Statement s;
  s.format_version = reader.number<std::uint16_t>();
  s.robot = reader.text(detail::kMaxText);
  s.stage = reader.text(detail::kMaxText);
  s.node = reader.text(detail::kMaxText);
  reader.take(s.session);
  s.sequence = reader.number<std::uint64_t>();
  reader.take(s.previous);
  for (auto * text : {&s.model.name, &s.model.version, &s.model.format, &s.model.digest_algorithm}) {
    *text = reader.text(detail::kMaxText);
  }
  reader.take(s.model.digest);
  for (auto * text : {&s.runtime.name, &s.runtime.version, &s.runtime.provider, &s.runtime.options, &s.runtime.cpu}) {
    *text = reader.text(detail::kMaxText);
  }
  reader.take(s.runtime.processing_digest);
  s.inputs = detail::read_references(reader);
  s.outputs = detail::read_references(reader);
  s.start = reader.time();
  s.clock = static_cast<Clock>(reader.number<std::uint8_t>());
  s.start_monotonic_ns = reader.number<std::uint64_t>();
  s.duration_ns = reader.number<std::uint64_t>();
  s.signed_at = reader.time();
  s.mode_requested = static_cast<Mode>(reader.number<std::uint8_t>());
  s.mode_used = static_cast<Mode>(reader.number<std::uint8_t>());
  reader.take(s.key_id);
  s.algorithm = static_cast<Algorithm>(reader.number<std::int32_t>());
  const View signature = reader.octets(128);
  reader.end();
  return seal(std::move(s), signature);
}

/// The serialised og_ros/msg/Attestation, little-endian, ready for a publisher or a bag.
inline Bytes encode_attestation(const Attestation & attestation)
{
  const Statement & s = attestation.statement;
  detail::CdrWriter writer;
  writer.number(s.format_version);
  for (const auto * text : {&s.robot, &s.stage, &s.node}) {writer.text(*text);}
  writer.raw(s.session);
  writer.number(s.sequence);
  writer.raw(s.previous);
  for (const auto * text : {&s.model.name, &s.model.version, &s.model.format, &s.model.digest_algorithm}) {
    writer.text(*text);
  }
  writer.raw(s.model.digest);
  for (const auto * text : {
      &s.runtime.name, &s.runtime.version, &s.runtime.provider, &s.runtime.options, &s.runtime.cpu})
  {
    writer.text(*text);
  }
  writer.raw(s.runtime.processing_digest);
  detail::write_references(writer, s.inputs);
  detail::write_references(writer, s.outputs);
  writer.time(s.start);
  writer.number(static_cast<std::uint8_t>(s.clock));
  writer.number(s.start_monotonic_ns);
  writer.number(s.duration_ns);
  writer.time(s.signed_at);
  writer.number(static_cast<std::uint8_t>(s.mode_requested));
  writer.number(static_cast<std::uint8_t>(s.mode_used));
  writer.raw(s.key_id);
  writer.number(static_cast<std::int32_t>(s.algorithm));
  writer.octets(attestation.signature);
  return writer.payload();
}

}  // namespace og_ros

#endif  // OG_ROS__WIRE_HPP_
