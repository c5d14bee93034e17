// As rclcpp.hpp beside it.
#ifndef RCLCPP__SERIALIZATION_HPP_
#define RCLCPP__SERIALIZATION_HPP_

#include "rclcpp/rclcpp.hpp"

#endif  // RCLCPP__SERIALIZATION_HPP_
