"""What a device can do wrong. One family, so that a caller catches HalError and nothing wider."""


class HalError(Exception):
    """A device could not do its job. The text names the device, the finding and the next step."""


class DeviceGone(HalError):
    """The device or the way to it (port, daemon, chip) is not there; reopening may cure it."""


class DeviceTimeout(HalError):
    """The device is addressed properly and does not answer."""


class BadReading(HalError):
    """An answer came and cannot be true: CRC, exception answer, absurd value."""


class BadConfig(HalError):
    """The options do not fit the driver. Raised before anything is opened."""


class BadFrame(BadReading):
    """The bytes of an answer are not a whole frame of this exchange: cut short, alien, garbage."""


class CrcError(BadFrame):
    """The checksum of an answer is wrong: noise, or two devices talking at once."""


class ExceptionAnswer(BadReading):
    """The device understood the request and refused it by a Modbus exception."""


class IllegalRequest(ExceptionAnswer):
    """The device does not have what it was asked for (exceptions 1 to 3): asking again is vain."""
