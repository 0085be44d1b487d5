# How a target of dmq is made: the warnings, the sanitizers, and one function for a layer's library.
add_library(dmq_flags INTERFACE)
target_compile_options(dmq_flags INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Wconversion
                                           -Wno-sign-conversion -Werror)
# A designated initializer names what differs from the defaults; it is not meant to name the rest.
target_compile_options(dmq_flags INTERFACE -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # False alarms of gcc 12 on inlined std::string and std::variant.
  target_compile_options(dmq_flags INTERFACE -Wno-restrict -Wno-maybe-uninitialized -Wno-stringop-overflow)
endif()
target_include_directories(dmq_flags INTERFACE ${CMAKE_SOURCE_DIR})
if(DMQ_SANITIZE)
  target_compile_options(dmq_flags INTERFACE -fsanitize=${DMQ_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(dmq_flags INTERFACE -fsanitize=${DMQ_SANITIZE})
endif()
if(DMQ_FUZZ)
  target_compile_options(dmq_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(DMQ_PROFILE STREQUAL "generate")
  target_compile_options(dmq_flags INTERFACE -fprofile-generate -fprofile-update=single)
  target_link_options(dmq_flags INTERFACE -fprofile-generate)
elseif(DMQ_PROFILE STREQUAL "use")
  target_compile_options(dmq_flags INTERFACE -fprofile-use -fprofile-correction -Wno-missing-profile -flto=auto)
  target_link_options(dmq_flags INTERFACE -fprofile-use -flto=auto -Wno-stringop-overflow)  # false alarms, see above
endif()

# dmq_layer(NAME SOURCES... LINK targets...): the static library of one folder.
function(dmq_layer name)
  cmake_parse_arguments(LAYER "" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  add_library(dmq_${name} STATIC ${LAYER_SOURCES})
  target_link_libraries(dmq_${name} PUBLIC ${LAYER_LINK} PRIVATE dmq_flags ${LAYER_PRIVATE_LINK})
  target_include_directories(dmq_${name} PUBLIC ${CMAKE_SOURCE_DIR})
endfunction()

# dmq_program(NAME SOURCES... LINK targets...): a program in build/bin.
function(dmq_program name)
  cmake_parse_arguments(PROGRAM "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${PROGRAM_SOURCES})
  target_link_libraries(${name} PRIVATE dmq_flags ${PROGRAM_LINK})
endfunction()
