using System.Diagnostics;
using System.Text;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Tests;

/// <summary>Every malformed field of the specification: what is sent, as hex, and the reason code that the client hears.</summary>
[Trait("Category", "Devices")]
public sealed class MqttMalformedTests
{
    // Version 5.0 unless the first column says 4. The bodies are written by hand from the specification's tables.
    private const string Table =
        """
        5 00 00                                    81 | packet type 0 is reserved (2.1.2)
        4 F0 00                                    81 | AUTH does not exist in 3.1.1
        5 11 00                                    81 | flags of CONNECT
        5 36 05 0001 61 0001                       81 | QoS 3
        5 38 04 0001 61 00                         81 | DUP at QoS 0
        5 41 02 0001                               81 | flags of PUBACK
        5 51 02 0001                               81 | flags of PUBREC
        5 60 02 0001                               81 | flags of PUBREL
        5 71 02 0001                               81 | flags of PUBCOMP
        5 80 07 0001 00 0001 61 00                 81 | flags of SUBSCRIBE
        5 A0 06 0001 00 0001 61                    81 | flags of UNSUBSCRIBE
        5 C1 00                                    81 | flags of PINGREQ
        5 E1 00                                    81 | flags of DISCONNECT
        5 C0 80808080                              81 | remaining length of 5 bytes
        5 C0 8000                                  81 | remaining length with a byte too many
        5 C0 01 00                                 81 | PINGREQ with a body
        5 30 FFFFFF7F                              95 | larger than the largest packet
        5 30 00                                    81 | no topic
        5 30 02 0005                               81 | topic longer than the packet
        5 30 04 0001 FF 00                         81 | topic is no UTF-8
        5 30 04 0001 00 00                         81 | U+0000 in the topic
        5 30 06 0003 EDA080 00                     81 | a surrogate in the topic
        5 30 04 0001 23 00                         81 | wildcard # in the topic
        5 30 04 0001 2B 00                         81 | wildcard + in the topic
        5 30 03 0000 00                            82 | neither topic nor alias
        4 30 02 0000                               81 | empty topic in 3.1.1
        5 32 05 0001 61 0000                       82 | packet identifier 0
        5 32 04 0001 61 00                         81 | half a packet identifier
        5 30 03 0001 61                            81 | no properties' length
        5 30 04 0001 61 05                         81 | properties longer than the packet
        5 30 05 0001 61 01 99                      81 | unknown property
        5 30 06 0001 61 02 0102                    82 | payload format 2
        5 30 08 0001 61 04 01010101                82 | payload format twice
        5 30 06 0001 61 02 0200                    81 | message expiry cut short
        5 30 0E 0001 61 0A 0200000001 0200000001   82 | message expiry twice
        5 30 07 0001 61 03 230000                  94 | topic alias 0
        5 30 07 0001 61 03 230021                  94 | topic alias above the maximum
        5 30 06 0000 03 230001                     94 | topic alias that was not set
        5 30 0A 0001 61 06 230001 230001           82 | topic alias twice
        5 30 08 0001 61 04 08000123                82 | wildcard in the response topic
        5 30 07 0001 61 03 080005                  81 | response topic cut short
        5 30 07 0001 61 03 090005                  81 | correlation data cut short
        5 30 06 0001 61 02 0B01                    82 | subscription identifier from a client
        5 30 09 0001 61 05 1100000001              82 | a property of CONNECT
        5 30 09 0001 61 05 26000161 00             81 | user property without value
        5 40 01 00                                 81 | PUBACK cut short
        5 40 02 0000                               82 | PUBACK of identifier 0
        5 40 03 0001 01                            82 | PUBACK with a code it does not have
        5 40 04 0001 00 05                         81 | PUBACK with properties cut short
        5 40 05 0001 00 00 00                      81 | PUBACK with more behind it
        4 40 03 0001 00                            81 | PUBACK of 3.1.1 with a code
        5 50 03 0001 92                            82 | PUBREC with a code of PUBREL
        5 62 03 0001 10                            82 | PUBREL with a code of PUBACK
        5 70 03 0001 80                            82 | PUBCOMP with a code it does not have
        5 82 02 0001                               81 | SUBSCRIBE without properties
        5 82 03 0001 00                            82 | SUBSCRIBE without filter
        4 82 02 0001                               82 | SUBSCRIBE of 3.1.1 without filter
        5 82 07 0000 00 0001 61 00                 82 | SUBSCRIBE of identifier 0
        5 82 06 0001 00 0001 61                    81 | filter without options
        5 82 07 0001 00 0001 61 03                 81 | QoS 3 asked for
        5 82 07 0001 00 0001 61 40                 81 | reserved option bit 6
        5 82 07 0001 00 0001 61 80                 81 | reserved option bit 7
        5 82 07 0001 00 0001 61 30                 82 | retain handling 3
        4 82 06 0001 0001 61 04                    81 | options of 5.0 in 3.1.1
        5 82 06 0001 00 0000 00                    81 | empty filter
        5 82 09 0001 00 0003 612F23 04             00 | no local is allowed
        5 82 09 0001 00 0003 232F61 00             81 | # is not last
        5 82 08 0001 00 0002 612B 00               81 | + is not alone
        5 82 11 0001 00 000B 24736861 72652F672F61 62 04 82 | no local on a shared subscription
        5 82 0E 0001 00 0008 2473686172652F67 00   81 | shared subscription without filter
        5 82 09 0001 02 0B00 0001 61 00            82 | subscription identifier 0
        5 82 0B 0001 04 0B010B01 0001 61 00        82 | subscription identifier twice
        5 82 0C 0001 05 0BFFFFFFFF 0001 61 00      81 | subscription identifier of 5 bytes
        5 A2 03 0001 00                            82 | UNSUBSCRIBE without filter
        5 A2 06 0000 00 0001 61                    82 | UNSUBSCRIBE of identifier 0
        5 A2 05 0001 00 0005                       81 | UNSUBSCRIBE with a filter cut short
        5 10 0D 0004 4D515454 05 02 0000 00 0000   82 | a second CONNECT
        5 20 03 00 00 00                           82 | CONNACK from a client
        5 90 04 0001 00 00                         82 | SUBACK from a client
        5 B0 04 0001 00 00                         82 | UNSUBACK from a client
        5 D0 00                                    82 | PINGRESP from a client
        5 F0 00                                    82 | AUTH without an authentication method
        5 E0 01 03                                 81 | DISCONNECT with a code it does not have
        5 E0 02 00 05                              81 | DISCONNECT with properties cut short
        5 E0 07 00 05 1100000005                   82 | DISCONNECT raises the session expiry from 0
        5 E0 05 00 03 210001                       82 | DISCONNECT with a property of CONNECT
        5 E0 01 87                                 82 | DISCONNECT with a code of servers
        5 E0 01 8B                                 82 | DISCONNECT: only a server shuts down
        5 E0 06 00 04 1C000161                     82 | DISCONNECT with a server reference
        4 E0 01 00                                 81 | DISCONNECT of 3.1.1 with a code
        5 30 07 0001 61 03 080000                  82 | empty response topic
        5 30 05 0002 C080 00                       81 | overlong UTF-8 in the topic
        5 30 06 0003 E08080 00                     81 | overlong UTF-8 of three bytes
        5 30 07 0004 F4908080 00                   81 | beyond U+10FFFF
        5 30 08 0001 61 04 03000100                81 | U+0000 in the content type
        5 30 08 0001 61 04 080001FF                81 | response topic is no UTF-8
        5 30 0B 0001 61 07 26000100 000161         81 | U+0000 in a user property's name
        5 30 0B 0001 61 07 26000161 0001FF         81 | a user property's value is no UTF-8
        5 40 08 0001 00 04 11000001                82 | PUBACK with a property of CONNECT
        5 40 0C 0001 00 08 1F000161 1F000161       82 | PUBACK with two reasons
        5 50 08 0001 00 04 1F0001FF                81 | PUBREC with a reason that is no UTF-8
        5 50 07 0001 00 03 230001                  82 | PUBREC with a property of PUBLISH
        5 62 0C 0001 00 08 1F000161 1F000161       82 | PUBREL with two reasons
        5 62 05 0001 00 01 99                      81 | PUBREL with an unknown property
        5 70 07 0001 00 03 210001                  82 | PUBCOMP with a property of CONNECT
        5 70 09 0001 00 05 1F000161 26             81 | PUBCOMP with half a property
        5 82 0A 0001 03 210001 0001 61 00          82 | SUBSCRIBE with a property of CONNECT
        5 82 08 0001 00 0002 C080 00               81 | SUBSCRIBE with overlong UTF-8
        5 82 07 0001 00 0001 00 00                 81 | U+0000 in a filter
        5 82 0F 0001 00 0009 2473686172652F2F61 00 81 | empty share name
        5 82 10 0001 00 000A 2473686172652F2B2F61 00 81 | share name with +
        5 82 11 0001 00 000B 2473686172652F67232F61 00 81 | share name with #
        5 82 0C 0001 00 0006 247368617265 00       00 | $share alone is an ordinary filter
        5 A2 08 0001 00 0003 232F61                81 | UNSUBSCRIBE: # is not last
        5 A2 07 0001 00 0002 612B                  81 | UNSUBSCRIBE: + is not alone
        5 A2 05 0001 00 0000                       81 | UNSUBSCRIBE of an empty filter
        5 A2 06 0001 00 0001 FF                    81 | UNSUBSCRIBE of what is no UTF-8
        5 A2 08 0001 02 0B01 0001 61               82 | UNSUBSCRIBE with a property of SUBSCRIBE
        5 A2 0F 0001 00 000A 2473686172652F2F6162  81 | UNSUBSCRIBE of an empty share name
        """;

    private const string Connects =
        """
        0D 0004 4D515454 05 03 0000 00 0000                   81 | reserved connect flag
        0D 0004 4D515454 05 0A 0000 00 0000                   81 | will QoS without will
        0D 0004 4D515454 05 22 0000 00 0000                   81 | will retain without will
        14 0004 4D515454 05 1E 0000 00 0000 00 0001 61 0001 61 81 | will QoS 3
        14 0004 4D515454 05 06 0000 00 0000 00 0001 23 0001 61 90 | wildcard in the will's topic
        11 0004 4D515454 05 06 0000 00 0000 00 0001 61        81 | will without payload
        0D 0004 4D515454 05 82 0000 00 0000                   81 | user name flag without user name
        0D 0004 4D515454 05 42 0000 00 0000                   81 | password flag without password
        0E 0004 4D515454 05 02 0000 00 0000 00                81 | more behind the last field
        0C 0004 4D515454 05 02 0000 00 00                     81 | client identifier cut short
        0E 0004 4D515454 05 02 0000 00 0001 FF                81 | client identifier is no UTF-8
        10 0004 4D515454 05 02 0000 03 210000 0000            82 | receive maximum 0
        12 0004 4D515454 05 02 0000 05 2700000000 0000        82 | maximum packet size 0
        0F 0004 4D515454 05 02 0000 02 1702 0000              82 | request problem information 2
        0F 0004 4D515454 05 02 0000 02 1902 0000              82 | request response information 2
        17 0004 4D515454 05 02 0000 0A 1100000001 1100000001 0000 82 | session expiry twice
        11 0004 4D515454 05 02 0000 04 16000161 0000          82 | authentication data without method
        11 0004 4D515454 05 02 0000 04 15000161 0000          8C | an authentication method that is not known
        10 0004 4D515454 05 02 0000 03 230001 0000            82 | a property of PUBLISH
        0D 0004 4D515454 06 02 0000 00 0000                   84 | protocol level 6
        15 0004 4D515454 05 06 0000 00 0000 01 99 0001 61 0001 62  81 | unknown property of the will
        1E 0004 4D515454 05 06 0000 00 0000 0A 0200000001 0200000001 0001 61 0001 62  82 | the will's expiry twice
        16 0004 4D515454 05 06 0000 00 0000 02 0102 0001 61 0001 62  82 | the will's payload format 2
        18 0004 4D515454 05 06 0000 00 0000 04 08000123 0001 61 0001 62  82 | wildcard in the will's response topic
        17 0004 4D515454 05 06 0000 00 0000 03 080000 0001 61 0001 62  82 | empty response topic of the will
        17 0004 4D515454 05 06 0000 00 0000 03 210001 0001 61 0001 62  82 | a property of CONNECT in the will
        14 0004 4D515454 05 06 0000 00 0000 05 1800000001 05  81 | the will's properties and no more
        1E 0004 4D515454 05 06 0000 00 0000 0A 1800000001 1800000001 0001 61 0001 62  82 | the will's delay twice
        18 0004 4D515454 05 06 0000 00 0000 04 030001FF 0001 61 0001 62  81 | the will's content type is no UTF-8
        14 0004 4D515454 05 06 0000 00 0000 09 0001 61 0001 62  81 | the will's properties are longer than the packet
        14 0004 4D515454 05 06 0000 00 0000 00 0001 FF 0001 62  81 | the will's topic is no UTF-8
        14 0004 4D515454 05 06 0000 00 0000 00 0001 00 0001 62  81 | U+0000 in the will's topic
        13 0004 4D515454 05 06 0000 00 0000 00 0000 0001 62  90 | empty topic of the will
        10 0004 4D515454 05 82 0000 00 0000 0001 FF  81 | the user name is no UTF-8
        11 0004 4D515454 05 82 0000 00 0000 0002 C080  81 | overlong UTF-8 in the user name
        0E 0004 4D515454 05 02 0000 00 0001 00  81 | U+0000 in the client identifier
        14 0004 4D515454 05 02 0000 08 26000161 0001FF 0000  81 | a user property is no UTF-8
        12 0004 4D515454 05 02 0000 05 0200000001 0000  82 | a property of PUBLISH
        11 0004 4D515454 05 02 0000 04 12000161 0000  82 | a property of CONNACK
        0D 0004 4D515454 85 02 0000 00 0000  84 | protocol level 5 with a bridge's bit
        """;

    public static TheoryData<int, string, int, string> Packets => Parse(Table, hasVersion: true);

    public static TheoryData<int, string, int, string> ConnectBodies => Parse(Connects, hasVersion: false);

    [Theory]
    [MemberData(nameof(Packets))]
    public void A_malformed_packet_ends_the_connection_with_its_reason_and_nobody_elses(int version, string hex, int code, string what)
    {
        var core = new MqttCoreHarness();
        var other = core.Connect("other");
        core.Subscribe(other, "t");
        var connection = core.Connect("bad", (MqttVersion)version);
        core.Take(connection);
        core.Feed(connection, Convert.FromHexString(hex));
        if (code == 0)
        {
            Assert.False(connection.IsClosing, what);
        }
        else
        {
            Assert.True(connection.IsClosing, what);
            if (version == 5)
                Assert.Equal((MqttReasonCode)code, Assert.Single(core.Take(connection), one => one.Type == MqttPacketType.Disconnect).Disconnect!.Code);
            else
                Assert.Empty(core.Take(connection)); // 3.1.1 has no word for it
            Assert.True(core.LastError.Code == (MqttReasonCode)code, $"{what}: {core.LastError.Code}, {core.LastError.Message}");
            Assert.Matches(@"[0-9]\.[0-9]|bytes|there twice|only 0 and 1", core.LastError.Message);
        }

        core.Publish("t", "still here");
        Assert.Equal("still here", Assert.Single(core.Take(other), one => one.Type == MqttPacketType.Publish).Payload);
    }

    [Theory]
    [MemberData(nameof(ConnectBodies))]
    public void A_malformed_connect_is_refused_with_its_reason(int version, string hex, int code, string what)
    {
        var core = new MqttCoreHarness();
        var connection = core.Open();
        core.Feed(connection, Convert.FromHexString("10" + hex));
        Assert.True(connection.IsClosing, what);
        var answer = Assert.Single(core.Take(connection, (MqttVersion)version));
        Assert.Equal((MqttReasonCode)code, answer.ConnAck!.Code);
        Assert.NotEmpty(answer.ConnAck.Properties.ReasonString!);
    }

    [Theory]
    [InlineData("10 0C 0004 4D515454 04 00 0000 0000", 2, "an empty client identifier without a clean session [MQTT-3.1.3-8]")]
    [InlineData("10 0C 0004 4D515454 04 02 0000 0000", 0, "and with one")]
    [InlineData("10 0C 0004 4D515454 07 02 0000 0000", 0x84, "a level to come is answered as version 5.0 does")]
    [InlineData("10 11 0004 4D515454 04 42 0000 0001 61 0002 7077", -1, "a password without a user name [MQTT-3.1.2-22]")]
    [InlineData("10 0D 0004 4D515454 04 03 0000 0001 61", -1, "the reserved flag [MQTT-3.1.2-3]")]
    [InlineData("10 0D 0004 4D515454 04 12 0000 0001 61", -1, "will QoS without a will [MQTT-3.1.2-13]")]
    [InlineData("10 0D 0004 4D515454 04 22 0000 0001 61", -1, "will retain without a will [MQTT-3.1.2-15]")]
    [InlineData("10 13 0004 4D515454 04 1E 0000 0001 61 0001 61 0001 62", -1, "will QoS 3 [MQTT-3.1.2-14]")]
    [InlineData("10 0D 0004 4D515454 04 82 0000 0001 61", -1, "a user name flag without user name")]
    [InlineData("10 0D 0004 4D515454 04 02 0000 0001 FF", -1, "a client identifier that is no UTF-8 [MQTT-1.5.3-1]")]
    [InlineData("10 0E 0004 4D515454 04 02 0000 0001 61 00", -1, "more behind the last field")]
    [InlineData("10 13 0004 4D515454 04 06 0000 0001 61 0001 23 0001 62", -1, "a wildcard in the will's topic")]
    public async Task A_connect_of_version_3_1_1_is_answered_with_the_code_that_it_has_or_by_the_close(string hex, int code, string what)
    {
        await using var broker = MqttHouse.Start();
        using var raw = await RawClient.OpenAsync(broker.EndPoints[0].Port, MqttVersion.V311);
        await raw.SendAsync(Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal)));
        if (code >= 0)
        {
            var (type, _, body) = await raw.ReadAsync();
            Assert.True(type == MqttPacketType.ConnAck && body[1] == code, $"{what}: {Convert.ToHexString(body)}");
        }

        if (code != 0)
            await raw.ExpectEndAsync();
        Assert.Equal(code == 0 ? 1 : 0, broker.ConnectedCount);
    }

    [Fact]
    public void A_first_packet_that_is_no_connect_or_not_mqtt_ends_the_connection()
    {
        foreach (var bytes in (byte[][])[[0xC0, 0], "GET / HTTP/1.1\r\n\r\n"u8.ToArray(), [0x16, 3, 1, 0, 5], [0x10, 12, 0, 4, (byte)'M', (byte)'Q', (byte)'X', (byte)'T', 4, 2, 0, 0, 0, 0]])
        {
            var core = new MqttCoreHarness();
            var connection = core.Open();
            core.Feed(connection, bytes);
            Assert.True(connection.IsClosing, Convert.ToHexString(bytes));
            Assert.Empty(core.Take(connection));
        }
    }

    [Fact]
    public void Mutated_packets_never_crash_the_decoder_or_the_broker()
    {
        const int Inputs = 240_000;
        var random = new Random(20_26);
        var samples = MqttCodecTests.Samples().ToArray();
        var clock = Stopwatch.StartNew();
        var (malformed, whole) = (0, 0);
        var core = new MqttCoreHarness();
        var connection = core.Connect("fuzz", MqttVersion.V5);
        for (var i = 0; i < Inputs; i++)
        {
            var (name, packet, version) = samples[random.Next(samples.Length)];
            var bytes = Mutate(packet, random);
            try
            {
                if (MqttFrame.TryRead(bytes, 1 << 20, version, out var frame))
                {
                    MqttCodecTests.Decode(frame, bytes.AsSpan(frame.BodyStart, frame.Length - frame.BodyStart), version);
                    whole++;
                }
            }
            catch (MqttProtocolException e)
            {
                malformed++;
                Assert.True((byte)e.Code >= 0x80 && e.Message.Length > 10, $"{name} input {i}: {e.Message}");
            }

            // Every fourth goes to a live broker too.
            if (i % 4 != 0)
                continue;
            if (connection.IsClosing)
                connection = core.Connect($"fuzz{random.Next(20)}", version, expiry: 100);
            core.Feed(connection, bytes);
            core.Take(connection);
        }

        Assert.InRange(malformed, Inputs / 20, Inputs);
        Assert.InRange(whole, Inputs / 20, Inputs);
        var last = core.Connect("last");
        core.Subscribe(last, "still");
        core.Publish("still", "alive");
        Assert.Equal("alive", Assert.Single(core.Take(last), one => one.Topic == "still").Payload);
        Assert.True(clock.Elapsed < TimeSpan.FromMinutes(2), $"{clock.Elapsed}");
    }

    private static byte[] Mutate(byte[] packet, Random random)
    {
        var bytes = packet.ToArray();
        switch (random.Next(6))
        {
            case 0:
                break;
            case 1:
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
                break;
            case 2:
                bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
                break;
            case 3:
                Array.Resize(ref bytes, random.Next(bytes.Length + 1));
                break;
            case 4:
                var at = random.Next(bytes.Length);
                bytes = [.. bytes[..at], (byte)random.Next(256), .. bytes[at..]];
                break;
            default:
                for (var i = random.Next(1, 5); i > 0; i--)
                    bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
                break;
        }

        // Mostly with a remaining length that is right, so that the body is looked at.
        if (bytes.Length is > 2 and < 129 && random.Next(4) != 0)
            bytes[1] = (byte)(bytes.Length - 2);
        return bytes;
    }

    private static TheoryData<int, string, int, string> Parse(string table, bool hasVersion)
    {
        var data = new TheoryData<int, string, int, string>();
        foreach (var line in table.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var parts = line.Split('|', 2);
            var words = parts[0].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            var version = hasVersion ? int.Parse(words[0]) : 5;
            data.Add(version, string.Concat(words[(hasVersion ? 1 : 0)..^1]), Convert.ToInt32(words[^1], 16), parts[1].Trim());
        }

        return data;
    }
}
