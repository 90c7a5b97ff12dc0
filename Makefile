# For a machine that has only Python, Go, make and root: installs tox and runs it.
PYTHON ?= python3
TOOLS := .tox/tools
TOX := $(TOOLS)/bin/tox

.PHONY: command demo demo-files test format lint unit integration testbed-down clean

demo: $(TOX) ## Deploy a part of Charmed Kubeflow 1.8 in an air-gapped testbed and show it
	$(TOX) run -e demo

demo-files: $(TOX) ## Start the testbed and make the files of the tutorial, in the directory build
	$(TOX) run -e demo -- --files

command: $(TOX) ## Build the command as one file with the documents in it, build/ckf-airgap
	$(TOX) run -e docs,command

test: $(TOX) ## Run the checks, and the unit, functional and integration tests, two at a time
	# The tests on the testbed take longest: one core is left to them.
	CKF_FUNCTIONAL_PROCESSES=1 $(TOX) run-parallel --parallel 2 --parallel-no-spinner

format: $(TOX) ## Format the code
	$(TOX) run -e format

lint: $(TOX) ## Check the code
	$(TOX) run -e lint

unit: $(TOX) ## Run the unit tests
	$(TOX) run -e unit

integration: $(TOX) ## Test the packed charm on the testbed
	$(TOX) run -e integration

testbed-down: $(TOX) ## Stop the testbed
	$(TOX) run -e testbed -- down

clean: testbed-down ## Stop the testbed, and remove tox's environments and the directory build
	rm -rf .tox build

$(TOX):
	$(PYTHON) -m venv $(TOOLS) || { apt-get update -qq && apt-get install -qq -y python3-venv && $(PYTHON) -m venv $(TOOLS); }
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check 'tox>=4.25' 'tox-uv>=1.25'
