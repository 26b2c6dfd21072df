# What is not ./run or ./test. `make build` gives build/altlas.
.PHONY: build test quick asan tsan gcc format tidy clean
build:
	tools/install && tools/build release altlas
test:
	./test
quick:
	./test quick
asan tsan:
	tools/install test && tools/build $@ all && ctest --test-dir build/$@ -LE 'bench|tidy' --output-on-failure
gcc:
	tools/install test && cmake --preset gcc && cmake --build build/gcc --target altlas
format:
	git ls-files 'src/*.h' 'src/*.cc' | xargs clang-format-19 -i
tidy:
	python3 tools/tidy.py
clean:
	rm -rf build
