"""Stand-ins for the world around the gateway: a scripted upstream, the gateway as a process, and a plain client."""
