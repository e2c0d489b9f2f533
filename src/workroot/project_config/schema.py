"""The JSON Schema of a project's config, for editors: made from the fields, and shipped beside this module.

`python -m workroot.project_config.schema` prints what `project-config.schema.json` has to hold.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from typing import TYPE_CHECKING

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from workroot.project_config.fields import ConfigFile

if TYPE_CHECKING:
    from pydantic_core import core_schema

__all__ = ["made_schema", "shipped_schema"]

_FILE = "project-config.schema.json"


def shipped_schema() -> str:
    """Return the text of the schema that belongs to this version."""
    return files("workroot.project_config").joinpath(_FILE).read_text("utf-8")


def made_schema() -> str:
    """Return the text of the schema as it follows from the fields."""
    schema = ConfigFile.model_json_schema(schema_generator=_Generator)
    return json.dumps({"$schema": _Generator.schema_dialect, **schema}, indent=2) + "\n"


class _Generator(GenerateJsonSchema):
    """Says no more than the fields do; of a table of names, that there are no others."""

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        return {**made, "additionalProperties": False} if "patternProperties" in made else made

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


if __name__ == "__main__":
    sys.stdout.write(made_schema())
