"""The peer of the scorer's benchmark: the same ONNX file in MLServer, by a runtime as its documentation has them. Runs in MLServer's environment."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from onnxruntime import InferenceSession, SessionOptions


class OnnxModel(MLModel):
    """One thread, as the scorer."""

    async def load(self) -> bool:
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = InferenceSession(self.settings.parameters.uri, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        features = NumpyCodec.decode_input(payload.inputs[0]).astype("float32")
        (reward,) = self._session.run(["reward"], {"features": features})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("reward", reward)])
