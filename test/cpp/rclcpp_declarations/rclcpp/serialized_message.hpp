// As rclcpp.hpp beside it.
#ifndef RCLCPP__SERIALIZED_MESSAGE_HPP_
#define RCLCPP__SERIALIZED_MESSAGE_HPP_

#include "rclcpp/rclcpp.hpp"

#endif  // RCLCPP__SERIALIZED_MESSAGE_HPP_
