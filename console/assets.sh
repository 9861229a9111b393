#!/usr/bin/env bash
# Writes the files of a folder as C: what console/assets.h declares.
#
#   console/assets.sh FOLDER
set -euo pipefail
shopt -s nullglob
echo '/* Made by console/assets.sh of console/assets; not to be changed. */'
echo '#include "assets.h"'
files=("$1"/*.{html,js,css,svg,png})
for i in "${!files[@]}"; do
  printf 'static const unsigned char file_%d[] = {\n' "$i"
  od -An -v -tx1 "${files[i]}" | sed 's/ \(..\)/0x\1,/g'
  printf '0};\n'
done
echo 'const Asset assets[] = {'
for i in "${!files[@]}"; do
  printf '\t{"%s", (const char *) file_%d, sizeof(file_%d) - 1},\n' "${files[i]##*/}" "$i" "$i"
done
printf '\t{0, 0, 0},\n};\n'
