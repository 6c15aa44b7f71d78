"""The message types of Vertex AI, where they differ from the Gemini API's. Source: the discovery document of
aiplatform.googleapis.com, v1 and v1beta1."""

from __future__ import annotations

from types import MappingProxyType

from antigravity2api.sandbox.messages import GEMINI, Catalog, Fields

PACKAGES = MappingProxyType({
    "v1": "type.googleapis.com/google.cloud.aiplatform.v1.",
    "v1beta1": "type.googleapis.com/google.cloud.aiplatform.v1beta1.",
})  # fmt: skip


def _changed(fields: Fields, *left_out: str, **joined: str) -> Fields:
    return {name: kind for name, kind in fields.items() if name not in left_out} | joined


VERTEX: Catalog = MappingProxyType(
    {
        **GEMINI,
        "GenerateContentRequest": _changed(
            GEMINI["GenerateContentRequest"],
            "serviceTier", "store",
            modelArmorConfig="ModelArmorConfig",
            outputConfig="OutputConfig",
        ),
        "ModelArmorConfig": {"promptTemplateName": "string", "responseTemplateName": "string"},
        "OutputConfig": {"outputUriPrefix": "string"},
        "CountTokensRequest": {
            "model": "string",
            "contents": "*Content",
            "instances": "*value",
            "systemInstruction": "Content",
            "tools": "*Tool",
            "generationConfig": "GenerationConfig",
        },
        "Part": _changed(
            GEMINI["Part"],
            "toolCall", "toolResponse", "partMetadata", "mediaProcessing",
            audioTranscription="struct",
            speechMetadata="struct",
        ),
        "FunctionCall": _changed(GEMINI["FunctionCall"], partialArgs="*struct", willContinue="bool"),
        "FunctionResponse": _changed(GEMINI["FunctionResponse"], "willContinue"),
        "MediaResolution": {"level": "enum:MediaResolution.Level"},
        "Tool": _changed(
            GEMINI["Tool"],
            "fileSearch", "mcpServers",
            retrieval="Retrieval",
            enterpriseWebSearch="EnterpriseWebSearch",
            parallelAiSearch="struct",
            exaAiSearch="struct",
        ),
        "Retrieval": {
            "disableAttribution": "bool",
            "externalApi": "struct",
            "vertexAiSearch": "struct",
            "vertexRagStore": "struct",
        },
        "EnterpriseWebSearch": {"excludeDomains": "*string", "blockingConfidence": "string"},
        "GoogleSearch": {"searchTypes": "struct", "excludeDomains": "*string", "blockingConfidence": "string"},
        "GoogleMaps": {"enableWidget": "bool", "groundingTypes": "struct"},
        "Schema": _changed(GEMINI["Schema"], additionalProperties="value", defs="map:Schema", ref="string"),
        "ToolConfig": _changed(GEMINI["ToolConfig"], "includeServerSideToolInvocations"),
        "FunctionCallingConfig": _changed(GEMINI["FunctionCallingConfig"], streamFunctionCallArguments="bool"),
        "SafetySetting": {
            "category": "enum:Vertex.HarmCategory",
            "threshold": "enum:SafetySetting.HarmBlockThreshold",
            "method": "enum:SafetySetting.HarmBlockMethod",
        },
        "GenerationConfig": _changed(
            GEMINI["GenerationConfig"],
            "enableEnhancedCivicAnswers",
            topK="float",
            audioTimestamp="bool",
            routingConfig="struct",
            responseFormat="*struct",
        ),
        "ImageConfig": {
            "aspectRatio": "string",
            "imageSize": "string",
            "personGeneration": "enum:ImageConfig.PersonGeneration",
            "prominentPeople": "enum:ImageConfig.ProminentPeople",
            "imageOutputOptions": "ImageOutputOptions",
        },
        "ImageOutputOptions": {"mimeType": "string", "compressionQuality": "int32"},
        "ThinkingConfig": _changed(GEMINI["ThinkingConfig"], thinkingLevel="enum:Vertex.ThinkingLevel"),
    }
)  # fmt: skip
"""Version v1."""

VERTEX_BETA: Catalog = MappingProxyType(
    {
        **VERTEX,
        "Part": _changed(VERTEX["Part"], mediaProcessing="enum:Part.MediaProcessing"),
        "GenerationConfig": _changed(VERTEX["GenerationConfig"], modelConfig="struct"),
    }
)
"""Version v1beta1, which has two fields more."""
