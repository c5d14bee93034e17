// A session's hash chain, as a verifier follows it: sequence without gaps, each record naming the one before.
#ifndef OG_ROS__SESSION_HPP_
#define OG_ROS__SESSION_HPP_

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "og_ros/cose.hpp"

namespace og_ros
{
namespace detail
{

inline const char * changed_field(const Statement & a, const Statement & b)
{
  const auto same_model = [](const ModelReference & m, const ModelReference & n) {
      return m.name == n.name && m.version == n.version && m.format == n.format &&
             m.digest_algorithm == n.digest_algorithm && m.digest == n.digest;
    };
  const auto same_runtime = [](const Runtime & m, const Runtime & n) {
      return m.name == n.name && m.version == n.version && m.provider == n.provider && m.options == n.options &&
             m.cpu == n.cpu && m.processing_digest == n.processing_digest;
    };
  if (a.robot != b.robot) {return "robot";}
  if (a.stage != b.stage) {return "stage";}
  if (a.node != b.node) {return "node";}
  if (!same_model(a.model, b.model)) {return "model";}
  if (!same_runtime(a.runtime, b.runtime)) {return "runtime";}
  return nullptr;
}

}  // namespace detail

/// Follows one session in the order of arrival. Signatures are not checked here: `verify` first.
class SessionVerifier
{
public:
  /// So many of the newest records are remembered by their digests.
  static constexpr std::size_t kWindow = 8192;

  /// Take the next attestation; throws Error with the reason when it contradicts the session, and then forgets it.
  void add(const Attestation & next)
  {
    const Statement & s = next.statement;
    if (!first_) {
      if (s.sequence != 0) {
        throw Error(
                Reason::session_joined_late, "the session's first record has sequence " + std::to_string(s.sequence));
      }
      first_ = s;
      take(next);
      return;
    }
    if (s.session != first_->session || s.key_id != first_->key_id) {
      throw Error(Reason::session_other, "the record is of another session");
    }
    if (const char * field = detail::changed_field(*first_, s)) {
      throw Error(Reason::session_changed, std::string(field) + " changed within one session");
    }
    if (s.sequence <= newest_) {throw backwards(next);}
    if (s.start_monotonic_ns < newest_start_) {
      throw Error(Reason::clock_went_back, "the record began before the one before it, by the session's own clock");
    }
    if (s.sequence == newest_ + 1 && s.previous != seen_.back().second) {
      throw Error(Reason::chain_broken, "the record names another predecessor than the one that was seen");
    }
    lost_ += s.sequence - newest_ - 1;
    take(next);
  }

  /// How many sequence numbers were left out so far.
  std::uint64_t lost() const {return lost_;}
  /// The sequence number that the next record should have.
  std::uint64_t expected() const {return first_ ? newest_ + 1 : 0;}

private:
  void take(const Attestation & next)
  {
    newest_ = next.statement.sequence;
    newest_start_ = next.statement.start_monotonic_ns;
    seen_.emplace_back(newest_, next.digest);
    if (seen_.size() > kWindow) {seen_.pop_front();}
  }

  Error backwards(const Attestation & next) const
  {
    for (auto known = seen_.rbegin(); known != seen_.rend(); ++known) {
      if (known->first != next.statement.sequence) {continue;}
      if (known->second == next.digest) {return Error(Reason::attestation_replayed, "the same record came before");}
      return Error(Reason::session_forked, "two records of one session have one sequence number");
    }
    return Error(Reason::attestation_reordered, "the record came after a later one of its session");
  }

  std::optional<Statement> first_;
  std::uint64_t newest_ = 0;
  std::uint64_t newest_start_ = 0;
  std::uint64_t lost_ = 0;
  std::deque<std::pair<std::uint64_t, Digest>> seen_;
};

/// Check one session that is complete and in order; throws Error. Signatures are not checked here.
inline void verify_session(const std::vector<Attestation> & session)
{
  SessionVerifier verifier;
  for (const auto & attestation : session) {verifier.add(attestation);}
  if (verifier.lost()) {
    throw Error(Reason::attestation_lost, std::to_string(verifier.lost()) + " records of the session are missing");
  }
}

}  // namespace og_ros

#endif  // OG_ROS__SESSION_HPP_
