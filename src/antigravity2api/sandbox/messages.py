"""The message types of Google's API as data: field name to type, for ``proto`` to check a body against.

Types: ``string bool int32 int64 float bytes duration value struct``, ``enum:NAME``, ``map:TYPE`` or the name of another
message; a leading ``*`` makes it repeated. Source: Google's published schema of the Gemini API; fields that only Vertex
AI has are left out, because the Gemini API answers 400 for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

Fields = Mapping[str, str]
Catalog = Mapping[str, Fields]

PACKAGE = "type.googleapis.com/google.ai.generativelanguage.v1beta."

PART_DATA = (
    "text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult",
    "toolCall", "toolResponse",
)  # fmt: skip
"""The data fields of a part: exactly one must be set."""

ONEOFS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "Part": {"data": PART_DATA},
        "FunctionResponsePart": {"data": ("inlineData", "fileData")},
    }
)

ENUMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Type": tuple("TYPE_UNSPECIFIED STRING NUMBER INTEGER BOOLEAN ARRAY OBJECT NULL".split()),
        "FunctionCallingConfig.Mode": tuple("MODE_UNSPECIFIED AUTO ANY NONE VALIDATED".split()),
        "FunctionDeclaration.Behavior": tuple("UNSPECIFIED BLOCKING NON_BLOCKING".split()),
        "FunctionResponse.Scheduling": tuple("SCHEDULING_UNSPECIFIED SILENT WHEN_IDLE INTERRUPT".split()),
        "HarmCategory": tuple(
            "HARM_CATEGORY_UNSPECIFIED HARM_CATEGORY_DEROGATORY HARM_CATEGORY_TOXICITY HARM_CATEGORY_VIOLENCE "
            "HARM_CATEGORY_SEXUAL HARM_CATEGORY_MEDICAL HARM_CATEGORY_DANGEROUS HARM_CATEGORY_HARASSMENT "
            "HARM_CATEGORY_HATE_SPEECH HARM_CATEGORY_SEXUALLY_EXPLICIT HARM_CATEGORY_DANGEROUS_CONTENT "
            "HARM_CATEGORY_CIVIC_INTEGRITY HARM_CATEGORY_JAILBREAK".split()
        ),
        "SafetySetting.HarmBlockThreshold": tuple(
            "HARM_BLOCK_THRESHOLD_UNSPECIFIED BLOCK_LOW_AND_ABOVE BLOCK_MEDIUM_AND_ABOVE BLOCK_ONLY_HIGH BLOCK_NONE "
            "OFF".split()
        ),
        "ThinkingConfig.ThinkingLevel": tuple("THINKING_LEVEL_UNSPECIFIED MINIMAL LOW MEDIUM HIGH XHIGH".split()),
        "GenerationConfig.Modality": tuple("MODALITY_UNSPECIFIED TEXT IMAGE AUDIO VIDEO".split()),
        "GenerationConfig.MediaResolution": tuple(
            "MEDIA_RESOLUTION_UNSPECIFIED MEDIA_RESOLUTION_LOW MEDIA_RESOLUTION_MEDIUM MEDIA_RESOLUTION_HIGH".split()
        ),
        "MediaResolution.Level": tuple(
            "MEDIA_RESOLUTION_UNSPECIFIED MEDIA_RESOLUTION_LOW MEDIA_RESOLUTION_MEDIUM MEDIA_RESOLUTION_HIGH "
            "MEDIA_RESOLUTION_ULTRA_HIGH".split()
        ),
        "Part.MediaProcessing": tuple("MEDIA_PROCESSING_UNSPECIFIED STATIC AGENTIC".split()),
        "ExecutableCode.Language": tuple("LANGUAGE_UNSPECIFIED PYTHON".split()),
        "CodeExecutionResult.Outcome": tuple(
            "OUTCOME_UNSPECIFIED OUTCOME_OK OUTCOME_FAILED OUTCOME_DEADLINE_EXCEEDED".split()
        ),
        "ComputerUse.Environment": tuple(
            "ENVIRONMENT_UNSPECIFIED ENVIRONMENT_BROWSER ENVIRONMENT_MOBILE ENVIRONMENT_DESKTOP".split()
        ),
        "ToolType": tuple(
            "TOOL_TYPE_UNSPECIFIED GOOGLE_SEARCH_WEB GOOGLE_SEARCH_IMAGE URL_CONTEXT GOOGLE_MAPS FILE_SEARCH "
            "MEDIA_PROCESSING".split()
        ),
        "ServiceTier": tuple("unspecified standard flex priority".split()),
        "SafetySetting.HarmBlockMethod": tuple("HARM_BLOCK_METHOD_UNSPECIFIED SEVERITY PROBABILITY".split()),
        "ImageConfig.PersonGeneration": tuple("PERSON_GENERATION_UNSPECIFIED ALLOW_ALL ALLOW_ADULT ALLOW_NONE".split()),
        "ImageConfig.ProminentPeople": tuple(
            "PROMINENT_PEOPLE_UNSPECIFIED ALLOW_PROMINENT_PEOPLE BLOCK_PROMINENT_PEOPLE".split()
        ),
        "Vertex.HarmCategory": tuple(
            "HARM_CATEGORY_UNSPECIFIED HARM_CATEGORY_HATE_SPEECH HARM_CATEGORY_DANGEROUS_CONTENT "
            "HARM_CATEGORY_HARASSMENT HARM_CATEGORY_SEXUALLY_EXPLICIT HARM_CATEGORY_CIVIC_INTEGRITY "
            "HARM_CATEGORY_IMAGE_HATE HARM_CATEGORY_IMAGE_DANGEROUS_CONTENT HARM_CATEGORY_IMAGE_HARASSMENT "
            "HARM_CATEGORY_IMAGE_SEXUALLY_EXPLICIT HARM_CATEGORY_JAILBREAK".split()
        ),
        "Vertex.ThinkingLevel": tuple("THINKING_LEVEL_UNSPECIFIED LOW MEDIUM HIGH MINIMAL".split()),
    }
)
"""Words of the enumerations, in the order of their numbers. ``ServiceTier`` really is spelt in lower case. ``Vertex.``
stands before those that have other words on Vertex AI."""

LENIENT_ENUMS = frozenset({"Type", "ThinkingConfig.ThinkingLevel", "Vertex.ThinkingLevel"})
"""Enumerations whose words are also taken in lower case."""

GEMINI: Catalog = MappingProxyType(
    {
        "GenerateContentRequest": {
            "model": "string",
            "contents": "*Content",
            "systemInstruction": "Content",
            "tools": "*Tool",
            "toolConfig": "ToolConfig",
            "generationConfig": "GenerationConfig",
            "safetySettings": "*SafetySetting",
            "cachedContent": "string",
            "serviceTier": "enum:ServiceTier",
            "continuationToken": "bytes",
            "labels": "map:string",
            "store": "bool",
        },
        "CountTokensRequest": {
            "model": "string",
            "contents": "*Content",
            "generateContentRequest": "GenerateContentRequest",
        },
        "Content": {"role": "string", "parts": "*Part"},
        "Part": {
            "text": "string",
            "inlineData": "Blob",
            "fileData": "FileData",
            "functionCall": "FunctionCall",
            "functionResponse": "FunctionResponse",
            "executableCode": "ExecutableCode",
            "codeExecutionResult": "CodeExecutionResult",
            "toolCall": "ToolCall",
            "toolResponse": "ToolResponse",
            "thought": "bool",
            "thoughtSignature": "bytes",
            "videoMetadata": "VideoMetadata",
            "mediaResolution": "MediaResolution",
            "mediaProcessing": "enum:Part.MediaProcessing",
            "partMetadata": "struct",
        },
        "Blob": {"mimeType": "string", "data": "bytes", "displayName": "string"},
        "FileData": {"mimeType": "string", "fileUri": "string", "displayName": "string"},
        "FunctionCall": {"id": "string", "name": "string", "args": "struct"},
        "FunctionResponse": {
            "id": "string",
            "name": "string",
            "response": "struct",
            "parts": "*FunctionResponsePart",
            "scheduling": "enum:FunctionResponse.Scheduling",
            "willContinue": "bool",
        },
        "FunctionResponsePart": {"inlineData": "Blob", "fileData": "FileData"},
        "ExecutableCode": {"language": "enum:ExecutableCode.Language", "code": "string", "id": "string"},
        "CodeExecutionResult": {"outcome": "enum:CodeExecutionResult.Outcome", "output": "string", "id": "string"},
        "ToolCall": {"id": "string", "toolType": "enum:ToolType", "args": "struct"},
        "ToolResponse": {"id": "string", "toolType": "enum:ToolType", "response": "struct"},
        "VideoMetadata": {"startOffset": "duration", "endOffset": "duration", "fps": "float"},
        "MediaResolution": {"level": "enum:MediaResolution.Level", "numTokens": "int32"},
        "Tool": {
            "functionDeclarations": "*FunctionDeclaration",
            "googleSearch": "GoogleSearch",
            "googleSearchRetrieval": "struct",
            "urlContext": "UrlContext",
            "codeExecution": "CodeExecution",
            "computerUse": "ComputerUse",
            "googleMaps": "GoogleMaps",
            "fileSearch": "FileSearch",
            "mcpServers": "*McpServer",
        },
        "FunctionDeclaration": {
            "name": "string",
            "description": "string",
            "behavior": "enum:FunctionDeclaration.Behavior",
            "parameters": "Schema",
            "parametersJsonSchema": "value",
            "response": "Schema",
            "responseJsonSchema": "value",
        },
        "Schema": {
            "type": "enum:Type",
            "format": "string",
            "title": "string",
            "description": "string",
            "nullable": "bool",
            "default": "value",
            "example": "value",
            "enum": "*string",
            "items": "Schema",
            "minItems": "int64",
            "maxItems": "int64",
            "properties": "map:Schema",
            "required": "*string",
            "propertyOrdering": "*string",
            "minProperties": "int64",
            "maxProperties": "int64",
            "minimum": "float",
            "maximum": "float",
            "minLength": "int64",
            "maxLength": "int64",
            "pattern": "string",
            "anyOf": "*Schema",
        },
        "GoogleSearch": {"searchTypes": "struct", "timeRangeFilter": "Interval"},
        "Interval": {"startTime": "string", "endTime": "string"},
        "UrlContext": {},
        "CodeExecution": {},
        "ComputerUse": {
            "environment": "enum:ComputerUse.Environment",
            "excludedPredefinedFunctions": "*string",
            "enablePromptInjectionDetection": "bool",
            "disabledSafetyPolicies": "*string",
        },
        "GoogleMaps": {"enableWidget": "bool"},
        "FileSearch": {"fileSearchStoreNames": "*string", "topK": "int32", "metadataFilter": "string"},
        "McpServer": {"name": "string", "streamableHttpTransport": "struct"},
        "ToolConfig": {
            "functionCallingConfig": "FunctionCallingConfig",
            "retrievalConfig": "RetrievalConfig",
            "includeServerSideToolInvocations": "bool",
        },
        "FunctionCallingConfig": {"mode": "enum:FunctionCallingConfig.Mode", "allowedFunctionNames": "*string"},
        "RetrievalConfig": {"latLng": "LatLng", "languageCode": "string"},
        "LatLng": {"latitude": "float", "longitude": "float"},
        "SafetySetting": {"category": "enum:HarmCategory", "threshold": "enum:SafetySetting.HarmBlockThreshold"},
        "GenerationConfig": {
            "temperature": "float",
            "topP": "float",
            "topK": "int32",
            "candidateCount": "int32",
            "maxOutputTokens": "int32",
            "stopSequences": "*string",
            "presencePenalty": "float",
            "frequencyPenalty": "float",
            "seed": "int32",
            "responseLogprobs": "bool",
            "logprobs": "int32",
            "responseMimeType": "string",
            "responseSchema": "Schema",
            "responseJsonSchema": "value",
            "responseModalities": "*enum:GenerationConfig.Modality",
            "imageConfig": "ImageConfig",
            "thinkingConfig": "ThinkingConfig",
            "speechConfig": "SpeechConfig",
            "mediaResolution": "enum:GenerationConfig.MediaResolution",
            "enableEnhancedCivicAnswers": "bool",
            "enableAffectiveDialog": "bool",
            "audioTranscriptionConfig": "struct",
            "translationConfig": "struct",
        },
        "ImageConfig": {"aspectRatio": "string", "imageSize": "string"},
        "ThinkingConfig": {
            "includeThoughts": "bool",
            "thinkingBudget": "int32",
            "thinkingLevel": "enum:ThinkingConfig.ThinkingLevel",
        },
        "SpeechConfig": {
            "voiceConfig": "VoiceConfig",
            "languageCode": "string",
            "multiSpeakerVoiceConfig": "MultiSpeakerVoiceConfig",
        },
        "VoiceConfig": {"prebuiltVoiceConfig": "PrebuiltVoiceConfig"},
        "PrebuiltVoiceConfig": {"voiceName": "string"},
        "MultiSpeakerVoiceConfig": {"speakerVoiceConfigs": "*SpeakerVoiceConfig"},
        "SpeakerVoiceConfig": {"speaker": "string", "voiceConfig": "VoiceConfig"},
    }
)


def _without(fields: Fields, *names: str) -> Fields:
    return {name: kind for name, kind in fields.items() if name not in names}


CODE_ASSIST: Catalog = MappingProxyType(
    {
        **GEMINI,
        "Envelope": {
            "model": "string",
            "project": "string",
            "userPromptId": "string",
            "requestId": "string",
            "requestType": "string",
            "userAgent": "string",
            "enabledCreditTypes": "*string",
            "request": "GenerateContentRequest",
        },
        "CountEnvelope": {"request": "CountTokensRequest"},
        "CountTokensRequest": {"model": "string", "contents": "*Content"},
        "GenerateContentRequest": {
            **_without(GEMINI["GenerateContentRequest"], "model", "serviceTier", "continuationToken", "store"),
            "sessionId": "string",
        },
        "GenerationConfig": {
            **_without(
                GEMINI["GenerationConfig"],
                "enableEnhancedCivicAnswers",
                "enableAffectiveDialog",
                "audioTranscriptionConfig",
                "translationConfig",
            ),
            "audioTimestamp": "bool",
            "routingConfig": "struct",
            "modelSelectionConfig": "struct",
        },
        "ImageConfig": {"aspectRatio": "string"},
        "LoadCodeAssistRequest": {"cloudaicompanionProject": "string", "metadata": "ClientMetadata", "mode": "string"},
        "OnboardUserRequest": {"tierId": "string", "cloudaicompanionProject": "string", "metadata": "ClientMetadata"},
        "ClientMetadata": {
            "ideType": "string",
            "ideVersion": "string",
            "ideName": "string",
            "pluginVersion": "string",
            "platform": "string",
            "pluginType": "string",
            "updateChannel": "string",
            "duetProject": "string",
        },
        "FetchAvailableModelsRequest": {"project": "string"},
        "RetrieveUserQuotaRequest": {"project": "string", "userAgent": "string"},
    }
)
"""The envelope of Cloud Code Assist and the message inside it, which has fewer fields than the Gemini API's."""

CODE_ASSIST_CLAUDE: Catalog = MappingProxyType(
    {
        **CODE_ASSIST,
        "FunctionDeclaration": {"name": "string", "description": "string", "parameters": "Schema"},
        "Schema": {
            **_without(
                CODE_ASSIST["Schema"],
                "format", "title", "default", "example", "minItems", "maxItems", "minimum", "maximum", "minLength",
                "maxLength", "pattern", "anyOf", "minProperties", "maxProperties",
            ),
            "additionalProperties": "value",
        },
    }
)  # fmt: skip
"""The same for models of other vendors: tools in ``parameters`` alone, and a smaller set of schema keywords."""
