"""Fairlead is taken away under load and comes back: sidecars serve on, and nothing is left that blocks a deletion."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.cluster import install
from e2e.support import objects
from e2e.support.installation import NAMESPACE, Installation
from e2e.support.site import Site


@pytest.mark.timeout(600)
def test_uninstalled_and_installed_again(site: Site, installation: Installation, proved: Callable[[str], None]) -> None:
    """The sidecars' ConfigMap has another authority after it: they must believe the new one without a restart."""
    for name in ("old", "new"):
        site.app(name, drain=5)
    site.policy({"old": 1})
    running = site.load("--rate", "100", ways=("a sidecar",))
    running.more(200)
    try:
        uninstall = ("uninstall", install.RELEASE, "--namespace", NAMESPACE, "--wait")
        install.helm(*uninstall, kubeconfig=site.cluster.kubeconfig)
        running.more(200)
        goes = objects.policy(site.namespace, {"new": 1}, hostname=f"goes.{site.hostname}")
        goes["metadata"]["name"] = "goes"
        site.cluster.apply(goes)
        site.cluster.delete(goes)
        site.cluster.wait_for(lambda: site.absent(goes), "a policy is deleted though nobody watches", seconds=20)
        alone = running.seen()
    finally:
        install.install(site.cluster.kubeconfig)
    installation.whole()
    running.more(100)
    # The kubelet brings the new authority into the pods within a minute or two.
    site.policy({"new": 1}, seconds=240)
    moved = running.now()
    running.more(200)
    report = running.stop()

    assert not report.failed, report.words()
    assert set(report.after(moved).by_app()) == {"new"}, report.after(moved).by_app()
    proved(
        f"uninstalled ({alone.words()} until then) and installed again, a change obeyed afterwards: {report.words()}"
    )
