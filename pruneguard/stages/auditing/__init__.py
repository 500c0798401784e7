"""What audits of stages share: detectors and pictures, controls, calibrations, and records."""
