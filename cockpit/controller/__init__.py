"""What ties the rooms together for every face: sessions, intentions, proofs."""

from cockpit.controller.core import Controller
from cockpit.controller.logs import JobLog
from cockpit.model.reports import CancelReport, NodeProof

__all__ = ["CancelReport", "Controller", "JobLog", "NodeProof"]
