# find_package(og_ros) where og_ros was installed without ROS: the C++ verifier, and no messages.
include("${CMAKE_CURRENT_LIST_DIR}/og_ros-verify.cmake")
