// Fills an attestation and prints the name of its type support, which has to be linked and loaded for that.
#include <iostream>

#include "og_ros/msg/attestation.hpp"
#include "rosidl_typesupport_cpp/message_type_support.hpp"

int main()
{
  og_ros::msg::Attestation attestation;
  attestation.format_version = og_ros::msg::Attestation::FORMAT_VERSION;
  attestation.stage = "perception";
  attestation.inputs.resize(1);
  const auto * handle = rosidl_typesupport_cpp::get_message_type_support_handle<og_ros::msg::Attestation>();
  std::cout << rosidl_generator_traits::name<og_ros::msg::Attestation>() << " " << attestation.stage << " "
            << (handle ? handle->typesupport_identifier : "no type support") << std::endl;
  return handle == nullptr;
}
