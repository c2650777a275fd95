"""CloudEvents 1.0: the message, its JSON format and its binding to HTTP."""

from functions.kit.cloudevents.http_binding import BATCH as BATCH
from functions.kit.cloudevents.http_binding import STRUCTURED as STRUCTURED
from functions.kit.cloudevents.http_binding import Headers as Headers
from functions.kit.cloudevents.http_binding import as_received as as_received
from functions.kit.cloudevents.http_binding import decode as decode
from functions.kit.cloudevents.http_binding import encode as encode
from functions.kit.cloudevents.http_binding import is_event as is_event
from functions.kit.cloudevents.http_binding import received as received
from functions.kit.cloudevents.json_format import from_json as from_json
from functions.kit.cloudevents.json_format import to_json as to_json
from functions.kit.cloudevents.json_format import to_json_text as to_json_text
from functions.kit.cloudevents.message import Message as Message
from functions.kit.cloudevents.message import NotAnEvent as NotAnEvent
from functions.kit.cloudevents.message import attributes as attributes
from functions.kit.cloudevents.message import format_time as format_time
from functions.kit.cloudevents.message import from_attributes as from_attributes
from functions.kit.cloudevents.message import parse_time as parse_time
from functions.kit.cloudevents.message import unchecked as unchecked
