"""What the service counts, in the text format of Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """One registry per application, so that several can live in a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "openfsar_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "openfsar_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.uploaded = Counter(
            "openfsar_uploaded_bytes", "Bytes of received videos.", registry=self.registry
        )
        self.videos = Counter(
            "openfsar_videos",
            "Videos looked at, by what became of them.",
            ["outcome"],
            registry=self.registry,
        )
        self.batch = Histogram(
            "openfsar_batch_videos",
            "Videos that shared a pass of the encoder.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self.encoding = Histogram(
            "openfsar_batch_seconds",
            "Decoding, encoding and matching one batch.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.classes = Gauge("openfsar_classes", "Actions the model knows.", registry=self.registry)
        self.examples = Gauge("openfsar_examples", "Examples of them.", registry=self.registry)
        self.timelines = Gauge(
            "openfsar_timelines", "Timelines by their state.", ["state"], registry=self.registry
        )

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)
