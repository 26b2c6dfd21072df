# Tasks beside ./run and ./test. `make build` makes build/altlas.
# `make wheel` makes dist/altlas-….whl with the program and its libraries.
.PHONY: build wheel test test-all asan tsan fuzz gcc format tidy clean
build:
	tools/install && tools/build release altlas
wheel:
	tools/install && tools/build release altlas && tools/wheel
test:
	./test
test-all:
	./test all
asan tsan:
	tools/install test && tools/build $@ all && ctest --test-dir build/$@ -LE 'bench|tidy' --output-on-failure
fuzz:
	tools/install test && tools/build fuzz fuzzers && ctest --test-dir build/fuzz --output-on-failure
gcc:
	tools/install dev && cmake --preset gcc && cmake --build build/gcc --target altlas
format:
	tools/install dev && find src -name '*.h' -o -name '*.cc' | xargs clang-format-19 -i
tidy:
	python3 -I tools/tidy.py
clean:
	rm -rf build dist
