// COSE_Sign1 (RFC 9052 section 4.2) form of an attestation: what is signed, exported, imported and logged.
#ifndef OG_ROS__COSE_HPP_
#define OG_ROS__COSE_HPP_

#include <string>
#include <utility>

#include "og_ros/detail/statement_cbor.hpp"

namespace og_ros
{

constexpr std::size_t kMaxCoseSize = 65'535;
constexpr std::size_t kSignatureSize = 64;

namespace detail
{

/// The protected header, which follows from the statement: algorithm, content type, key id, and CWT claims.
inline Bytes protected_header(const Statement & statement)
{
  CborWriter writer;
  writer.map(4);
  writer.number(1);
  writer.integer(static_cast<std::int64_t>(statement.algorithm));
  writer.number(3);
  writer.text("application/vnd.og-ros.statement+cbor");
  writer.number(4);
  writer.bytes(statement.key_id);
  writer.number(15);
  writer.map(2);
  writer.number(1);
  writer.text(statement.robot);
  writer.number(2);
  writer.text(statement.stage);
  return writer.take();
}

/// The Sig_structure (RFC 9052 section 4.4), whose bytes are signed.
inline Bytes to_be_signed(View protected_bytes, View payload)
{
  CborWriter writer;
  writer.array(4);
  writer.text("Signature1");
  writer.bytes(protected_bytes);
  writer.bytes(View());
  writer.bytes(payload);
  return writer.take();
}

}  // namespace detail

/// Join a statement and its signature to an attestation; the signature is not checked here.
inline Attestation seal(Statement statement, View signature)
{
  const Bytes payload = detail::encode_statement(statement);
  if (signature.size() != kSignatureSize) {
    throw Error(
            Reason::signature_form,
            "the signature is " + std::to_string(signature.size()) + " bytes long; it must be 64");
  }
  const Bytes header = detail::protected_header(statement);
  detail::CborWriter writer;
  writer.tag(18);
  writer.array(4);
  writer.bytes(header);
  writer.map(0);
  writer.bytes(payload);
  writer.bytes(signature);
  Attestation made;
  made.statement = std::move(statement);
  made.signature = signature.copy();
  made.signed_bytes = detail::to_be_signed(header, payload);
  made.cose = writer.take();
  made.digest = detail::sha256(made.cose);
  return made;
}

/// Read a COSE_Sign1 object back; throws Error for anything but the one form that `seal` gives.
inline Attestation decode_cose(View data)
{
  if (data.size() > kMaxCoseSize) {
    throw Error(
            Reason::malformed, "the COSE_Sign1 object is " + std::to_string(data.size()) +
            " bytes long; 65535 are allowed");
  }
  detail::CborReader reader(data);
  reader.tag(18);
  if (reader.array() != 4) {throw Error(Reason::malformed, "a COSE_Sign1 object has four parts");}
  const View header = reader.bytes();
  reader.map(0);
  const View payload = reader.bytes();
  const View signature = reader.bytes();
  reader.end();
  Attestation attestation = seal(detail::decode_statement(payload), signature);
  if (View(detail::protected_header(attestation.statement)) != header || View(attestation.cose) != data) {
    throw Error(Reason::malformed, "the protected header does not match the statement");
  }
  return attestation;
}

}  // namespace og_ros

#endif  // OG_ROS__COSE_HPP_
