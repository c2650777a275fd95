from .ready import ready_route as ready_route
