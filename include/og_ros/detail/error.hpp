// The one exception of these headers: what is wrong, as a reason that programs can tell apart and a line for people.
#ifndef OG_ROS__DETAIL__ERROR_HPP_
#define OG_ROS__DETAIL__ERROR_HPP_

#include <stdexcept>
#include <string>

namespace og_ros
{

/// Why something was refused; the names are those of the test vectors (docs/reference/vectors.md).
enum class Reason
{
  malformed,
  bounds,
  key,
  algorithm,
  signature_form,
  signature,
  attestation_lost,
  attestation_reordered,
  attestation_replayed,
  session_joined_late,
  session_forked,
  session_changed,
  session_other,
  chain_broken,
  clock_went_back,
  proof,
  note,
  unsigned_note,
  origin,
  key_file,
  library,  ///< OpenSSL failed, which says nothing about the record
};

inline const char * name_of(Reason reason)
{
  switch (reason) {
    case Reason::malformed: return "malformed";
    case Reason::bounds: return "bounds";
    case Reason::key: return "key";
    case Reason::algorithm: return "algorithm";
    case Reason::signature_form: return "signature_form";
    case Reason::signature: return "signature";
    case Reason::attestation_lost: return "attestation_lost";
    case Reason::attestation_reordered: return "attestation_reordered";
    case Reason::attestation_replayed: return "attestation_replayed";
    case Reason::session_joined_late: return "session_joined_late";
    case Reason::session_forked: return "session_forked";
    case Reason::session_changed: return "session_changed";
    case Reason::session_other: return "session_other";
    case Reason::chain_broken: return "chain_broken";
    case Reason::clock_went_back: return "clock_went_back";
    case Reason::proof: return "proof";
    case Reason::note: return "note";
    case Reason::unsigned_note: return "unsigned";
    case Reason::origin: return "origin";
    case Reason::key_file: return "key_file";
    case Reason::library: return "library";
  }
  return "unknown";
}

/// Thrown by every function of og_ros that refuses something; nothing else is, but std::bad_alloc.
class Error : public std::runtime_error
{
public:
  Error(Reason reason, const std::string & message)
  : std::runtime_error(message), reason_(reason) {}

  Reason reason() const noexcept {return reason_;}

private:
  Reason reason_;
};

}  // namespace og_ros

#endif  // OG_ROS__DETAIL__ERROR_HPP_
