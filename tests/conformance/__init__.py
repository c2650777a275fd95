"""What every broker of Knative's kind must do, against the local one or any other.

By default the local broker is started behind a real socket. To run the suite against a foreign
one, unchanged, set

    BROKER_URL=http://<ingress>/<namespace>/<broker>   where the tests reach the ingress
    SINK_HOST=<host>:<port>                            where the broker reaches these tests
    BROKER_HOST=<name>                                 the ingress' own name, if it goes by that

and make the Broker and its Triggers first:

    python -m tests.conformance.triggers | kubectl apply -f -
    python -m pytest tests/conformance

Not promised, hence not tested: an order among events, exactly one delivery, and how long a
delivery takes beyond its backoff. The suite relies on the answer to a POST coming after all
deliveries have ended, as with Knative's default channel: a broker that answers earlier (Kafka)
fails the cases that say so, and those that expect that nothing was delivered prove nothing there.
What cannot be seen over HTTP (durability) is tested with the local broker only.
"""
