# Drops include directories that do not exist from every imported target.
#
# The ROS packages on PyPI export targets that name the Python headers of the machine that built them; CMake refuses to
# link to a target with such a path. Where all paths exist, as with ROS from apt, this changes nothing. It is included
# when the messages are built and, from og_rosConfig.cmake, by whoever calls find_package(og_ros).
function(_og_ros_prune_stale_includes)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(include_directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT include_directories)
      continue()
    endif()
    set(existing "")
    foreach(directory IN LISTS include_directories)
      if(directory MATCHES "^\\$<" OR EXISTS "${directory}")
        list(APPEND existing "${directory}")
      endif()
    endforeach()
    if(NOT existing STREQUAL include_directories)
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${existing}")
    endif()
  endforeach()
endfunction()

_og_ros_prune_stale_includes()
