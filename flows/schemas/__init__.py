"""Request and result schemas of all job types, importable from here. Pure pydantic, without Prefect."""

from flows.schemas.analyze import AnalyzeJob, AnalyzeResult
from flows.schemas.base import JobParameters, Output
from flows.schemas.batch import BatchJob, BatchResult, RenderNewJob
from flows.schemas.caption import CaptionJob, CaptionResult
from flows.schemas.maintenance import EndPartsJob, EndPartsResult, JanitorJob, JanitorResult
from flows.schemas.pipeline import PersonaSyncJob, PipelineJob, PipelineResult
from flows.schemas.speech import SpeechJob, SpeechResult, VoiceOptions
from flows.schemas.transcribe import TranscribeJob, TranscribeResult, WhisperSize
from flows.schemas.verify import VerifyJob, VerifyResult
from flows.schemas.video import LipSyncJob, PortraitJob, PrepareAvatarJob, PrepareAvatarResult, VideoResult
from flows.schemas.webhook import AnnounceJob, AnnounceResult, NotifyJob, NotifyResult

__all__ = [
    "AnalyzeJob",
    "AnalyzeResult",
    "AnnounceJob",
    "AnnounceResult",
    "BatchJob",
    "BatchResult",
    "CaptionJob",
    "CaptionResult",
    "EndPartsJob",
    "EndPartsResult",
    "JanitorJob",
    "JanitorResult",
    "JobParameters",
    "LipSyncJob",
    "NotifyJob",
    "NotifyResult",
    "Output",
    "PersonaSyncJob",
    "PipelineJob",
    "PipelineResult",
    "PortraitJob",
    "PrepareAvatarJob",
    "PrepareAvatarResult",
    "RenderNewJob",
    "SpeechJob",
    "SpeechResult",
    "TranscribeJob",
    "TranscribeResult",
    "VerifyJob",
    "VerifyResult",
    "VideoResult",
    "VoiceOptions",
    "WhisperSize",
]
