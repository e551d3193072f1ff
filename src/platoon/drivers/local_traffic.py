"""What edge servers and committees say to each other in the simulated driver: seal requests and seals travel over
the links of the world, take their time there, and are lost where somebody has driven away.

Messages of one instant are sent together, so that they share the bands. The coordinator speaks to a committee
through the RSU of its edge server; what joins coordinator and edge servers is wired, and takes no time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from platoon.drivers.event_loop import Delivery
from platoon.nouns import Address, EdgeServerId, VehicleId
from platoon.protocol.messages import Message, SealReply, SealRequest
from platoon.protocol.wire import encode_seal_reply, encode_seal_request
from platoon.world.links import Parcel, Transfer
from platoon.world.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkUse:
    """Messages of a round's local chains by the link that carried them."""

    d2d: int = 0
    relayed: int = 0
    cellular: int = 0
    lost: int = 0
    size: int = 0
    """Bytes of those that arrived, counted once whatever the number of hops."""
    joules: float = 0.0
    """Radiated by vehicles, relays included."""

    def add(self, parcel: Parcel, transfer: Transfer) -> "LinkUse":
        """With one message more."""
        counted = replace(self, **{transfer.link: getattr(self, transfer.link) + 1})
        arrived = 0 if transfer.arrives is None else parcel.size
        return replace(counted, size=self.size + arrived, joules=self.joules + transfer.joules)


class LocalTraffic:
    """Takes the messages of an instant, and sends them together."""

    def __init__(self, world: World, edge_servers: Mapping[Address, EdgeServerId]) -> None:
        self._world, self._edge_servers = world, edge_servers
        self._waiting: list[Message] = []
        self.use = LinkUse()
        """Since the last ``begin``."""

    def begin(self) -> None:
        """A round begins: count anew."""
        self.use = LinkUse()

    def take(self, message: Message) -> None:
        """Take a seal request or a seal; it leaves with the next ``send``."""
        self._waiting.append(message)

    def send(self) -> Sequence[Delivery]:
        """Send what waits, now; returns what will arrive."""
        messages, self._waiting = self._waiting, []
        if not messages:
            return ()
        parcels = [self._wrap(message) for message in messages]
        deliveries = []
        for message, parcel, transfer in zip(messages, parcels, self._world.send(parcels), strict=True):
            self.use = self.use.add(parcel, transfer)
            if transfer.arrives is not None:
                deliveries.append(Delivery(message=message, at=transfer.arrives))
        return deliveries

    def _wrap(self, message: Message) -> Parcel:
        links = self._world.links
        match message.body:
            case SealRequest() as request:
                rsu = links.rsu(self._edge_servers[request.block.edge_server])
                vehicle = links.vehicle(VehicleId(message.receiver.number))
                return Parcel(sender=rsu, receiver=vehicle, size=len(encode_seal_request(request)))
            case SealReply() as reply:
                rsu = links.rsu(self._edge_servers[reply.edge_server])
                vehicle = links.vehicle(VehicleId(message.sender.number))
                return Parcel(sender=vehicle, receiver=rsu, size=len(encode_seal_reply(reply)))
            case _:
                raise TypeError(f"{type(message.body).__name__} is not for a local chain")
