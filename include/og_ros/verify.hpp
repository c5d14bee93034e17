// All that a verifier needs, without ROS: statements, wire and COSE forms, keys, digests, sessions, log proofs.
//
//   const og_ros::PublicKey key(pem);                        // the registered key, from somewhere that you trust
//   const auto attestation = og_ros::decode_attestation(og_ros::View(data, size));
//   og_ros::verify(attestation, key);                        // throws og_ros::Error, which says why
//   og_ros::matches(attestation.statement.outputs[0], og_ros::View(message, message_size));
#ifndef OG_ROS__VERIFY_HPP_
#define OG_ROS__VERIFY_HPP_

#include "og_ros/checkpoint.hpp"
#include "og_ros/cose.hpp"
#include "og_ros/digest.hpp"
#include "og_ros/keys.hpp"
#include "og_ros/merkle.hpp"
#include "og_ros/session.hpp"
#include "og_ros/statement.hpp"
#include "og_ros/wire.hpp"

#endif  // OG_ROS__VERIFY_HPP_
