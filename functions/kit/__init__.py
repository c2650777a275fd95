"""How a function touches the outside, written once; it knows no function and no DSM service.

contract, durable, clients, telemetry and process, on cloudevents; context joins them.
"""
