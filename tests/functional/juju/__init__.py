"""Every command line of the juju client that the product runs, run by the client of Juju 3.6.

The controller is a stand-in, which keeps what it is sent. So these tests show which calls the
client makes of each command, and what the product makes of its answers; not what a controller
does.
"""
