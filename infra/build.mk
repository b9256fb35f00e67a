# How `sam build` makes the packages of functions (Metadata: BuildMethod: makefile): it calls build-NAMEFunction with
# ARTIFACTS_DIR, and what lies there afterwards is the package.  No container is needed: all requirements are wheels.
#
# LAMBDA_ARCHITECTURE and LAMBDA_PYTHON must say the same as the parameters Architecture and PythonRuntime of
# template.yaml, and their defaults do.  `host` stands for this machine and its Python: emulators run functions with these.

LAMBDA_ARCHITECTURE ?= arm64
LAMBDA_PYTHON ?= 3.13

build-%Function: | $(BIN)/python
	@$(BIN)/python infra/package.py "$$(printf %s $* | tr '[:upper:]' '[:lower:]')" "$(ARTIFACTS_DIR)" \
	  --python $(LAMBDA_PYTHON) --architecture $(LAMBDA_ARCHITECTURE)
