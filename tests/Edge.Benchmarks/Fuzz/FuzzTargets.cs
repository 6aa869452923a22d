using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.DeviceController;
using Edge.Cloud.SyncController;
using Edge.Core.DeviceTwin;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Protocol.Messages;
using Edge.Protocol.Modbus;
using Edge.Protocol.Sync;

namespace Edge.Benchmarks.Fuzz;

/// <summary>One thing that reads what a peer sent.</summary>
/// <param name="Share">Of all inputs, how many parts go here.</param>
/// <param name="Run">Takes one input, made from the random numbers; returns how many inputs it was and how long the input was, bytes.
/// Throws <see cref="FuzzException"/> when a rule is broken; anything else it throws is a crash.</param>
internal sealed record FuzzTarget(string Name, int Share, Func<Random, (int Inputs, int Bytes)> Run);

/// <summary>A rule was broken without a crash.</summary>
internal sealed class FuzzException(string message) : Exception(message);

/// <summary>All of them. A new codec needs its name and a function here, and nothing else.</summary>
internal static class FuzzTargets
{
    private const int SizeMax = 4096;

    private static readonly byte[][] s_messages =
    [
        .. new[]
        {
            """{"header":{"msg_id":"8d2b1d9c-5e3a-4c8e-9f8e-0a1b2c3d4e5f","parent_msg_id":"","timestamp":1700000000000,"resourceversion":"1234","sync":false},"route":{"source":"edgecontroller","destination":"","group":"resource","operation":"update","resource":"default/pod/web"},"content":{"metadata":{"name":"web","namespace":"default","uid":"u-1","resourceVersion":"1234"},"spec":{"nodeName":"n"}}}""",
            """{"header":{"msg_id":"a","parent_msg_id":"b","timestamp":1},"route":{"source":"edgecontroller","group":"resource","operation":"response","resource":"default/configmap/c"},"content":"OK"}""",
            """{"header":{"msg_id":"k","timestamp":2},"route":{"source":"websocket","group":"resource","operation":"keepalive","resource":"node"},"content":"ping"}""",
            """{"header":{"msg_id":"i","timestamp":3},"route":{"source":"metamanager","group":"resource","operation":"get","resource":"node/inventory"},"content":{"objects":[{"key":"default/pod/web","uid":"u-1","rv":"1234"},{"key":"null/node/n","uid":"u-2","rv":7}]}}""",
            """{"header":{"msg_id":"e","parent_msg_id":"x","timestamp":4},"route":{"source":"","group":"resource","operation":"error","resource":"default/pod/web"},"content":"it failed"}""",
            """{"header":{"msg_id":"p","timestamp":5},"route":{"source":"edged","group":"meta","operation":"patch","resource":"null/nodepatch/n"},"content":"{\"status\":{\"conditions\":[{\"type\":\"Ready\"}]}}"}""",
            """{"header":{"msg_id":"t","timestamp":6},"route":{"source":"twin","group":"resource","operation":"update","resource":"device/default/d/twin/edge_updated"},"content":{"event_id":"","timestamp":1,"twin":{"temperature":{"actual":{"value":"21.5","metadata":{"timestamp":1}},"metadata":{"type":"float"}}}}}""",
        }.Select(Encoding.UTF8.GetBytes),
    ];

    private static readonly byte[] s_deviceStatus = """{"metadata":{"resourceVersion":"7"},"status":{"twins":[{"propertyName":"a","reported":{"value":"1"}},{"propertyName":"temperature"}],"extensions":{"problems":["edge: x","y"]}}}"""u8.ToArray();

    private static readonly byte[][] s_contents =
    [
        .. new[]
        {
            "\"OK\"", "null", "\"text with \\\"quotes\\\"\"", """{"metadata":{"name":"n","uid":"u","resourceVersion":"5"}}""",
            """{"Object":null,"Err":{"ErrStatus":{"status":"Failure","reason":"NotFound","message":"gone","code":404}}}""",
            """{"Object":{"metadata":{"name":"n"}},"Err":null}""", """{"ErrStatus":{"reason":"Conflict","code":409}}""",
            """{"objects":[{"key":"default/pod/web","uid":"u-1","rv":"1234"},{"key":"null/node/n","uid":"u-2","rv":7}]}""",
            "\"{\\\"objects\\\":[{\\\"key\\\":\\\"default/pod/a\\\",\\\"uid\\\":\\\"u\\\",\\\"rv\\\":\\\"1\\\"}]}\"",
            """{"event_id":"e","timestamp":1,"twin":{"t":{"expected":{"value":1},"actual":{"value":"2","metadata":{"timestamp":3,"error":"e"}}}}}""",
            "\"{\\\"device\\\":{\\\"state\\\":\\\"online\\\",\\\"lastOnlineTime\\\":\\\"now\\\"}}\"",
        }.Select(Encoding.UTF8.GetBytes),
    ];

    private static readonly byte[][] s_paths = [.. new[] { "default/pod/web", "null/node/n", "node/n/default/pod/web", "default/pod", "node/inventory", "device/default/d/twin/edge_updated" }.Select(Encoding.UTF8.GetBytes)];

    private static readonly string[] s_operations =
        [Operations.Insert, Operations.Update, Operations.Delete, Operations.Response, Operations.Error, Operations.Query, Operations.Patch, Operations.Get, "", "upsert"];

    public static IReadOnlyList<FuzzTarget> All { get; } =
    [
        new("codec", 4, Codec),
        new("path", 1, Path),
        new("answer", 2, Answer),
        new("inventory", 2, ReadInventory),
        new("device-report", 1, Report),
        new("meta", 2, Meta),
        new("session", 4, Session),
        new("compact", 2, Compact),
        new("fingerprint", 1, Fingerprint),
        new("sync", 1, Sync),
        new("mqtt", 2, MqttFuzz.Run),
        new("modbus", 2, Modbus),
        new("twin", 2, Twin),
    ];

    private static readonly byte[][] s_apps =
    [
        .. new[]
        {
            """{"event_id":"e","twin":{"t":{"expected":{"value":"1","metadata":{"timestamp":3}},"expected_version":{"cloud":1,"edge":2}}}}""",
            """{"event_id":"e","timestamp":1,"twin":{"t":{"actual":{"value":"2","metadata":{"timestamp":3}},"metadata":{"type":"int"}},"u":{"actual":{"value":"x"}}}}""",
            """{"event_id":"e","state":"offline"}""",
        }.Select(Encoding.UTF8.GetBytes),
    ];

    private static readonly JsonObject s_model = (JsonObject)JsonNode.Parse("""{"metadata":{"name":"m","namespace":"default"},"spec":{"properties":[{"name":"t","type":"INT","accessMode":"ReadWrite","maximum":"9"}]}}""")!;

    private static readonly JsonObject s_device = (JsonObject)JsonNode.Parse("""
        {"metadata":{"name":"d","namespace":"default","uid":"u"},"spec":{"deviceModelRef":{"name":"m"},"protocol":{"protocolName":"modbus"},"properties":[{"name":"t"}]}}
        """)!;

    // An application's message on one of the twin's topics has its answer, whatever is in it, and what it changed can be sent and stored.
    private static (int, int) Twin(Random random)
    {
        var core = new TwinCore(0) { NodeName = "n", PublishesToApps = true };
        var outputs = new List<TwinOutput>();
        core.Step(new TwinInput.ObjectChanged("devicemodel", "default", "m", s_model), outputs);
        core.Step(new TwinInput.ObjectChanged("device", "default", "d", s_device), outputs);
        outputs.Clear();
        var input = Mutator.Mutate(random, s_apps, SizeMax);
        var (asked, answered) = random.Next(4) switch
        {
            0 => ("device/default/d/twin/get", "device/default/d/twin/get/result"),
            1 => ("device/default/d/state/update", "device/default/d/state/update/result"),
            2 => ("node/n/membership/get", "node/n/membership/get/result"),
            _ => ("device/default/d/twin/update", "device/default/d/twin/update/result"),
        };
        core.Step(new TwinInput.AppMessage($"$hw/events/{asked}", input, 1000), outputs);
        if (outputs.OfType<TwinOutput.Publish>().Count(one => one.Topic == $"$hw/events/{answered}") != 1)
            throw new FuzzException($"no answer on {answered}");
        foreach (var row in outputs.OfType<TwinOutput.Persist>())
        {
            if (!TwinRows.TryReadDevice(row.Row, out _))
                throw new FuzzException("a row was written that cannot be read");
        }

        foreach (var twin in outputs.OfType<TwinOutput.SendTwin>())
            _ = TwinPayload.Twin("e", 1, twin);
        return (1, input.Length);
    }

    private static readonly byte[][] s_modbus =
    [
        .. new[]
        {
            "000100000006010300000004", "1103006B00037687", "0F0013000A02CD01", "100001000204000A0102", "16000400F20025", "1700030006000E00030600FF00FF00FF", "2B0E0100",
            "2B0E01830000030004456467650103452D31020456312E30", "0306022B00000064", "8302", "0101050000",
        }.Select(Convert.FromHexString),
    ];

    // Frames and PDUs of both ends; a request that was read writes the same bytes again, and a slave answers whatever comes.
    private static (int, int) Modbus(Random random)
    {
        var input = Mutator.Mutate(random, s_modbus, 600);
        _ = MbapFrame.Read(input, out _, out _, out _);
        if (RtuScanner.TryFindRequest(input, out var offset, out var length) && !RtuFrame.TryRead(input.AsMemory(offset, length), out _, out var crc))
            throw new FuzzException($"a request was found that is no frame: {crc}");
        if (RtuScanner.TryFindAnswer(input, input.Length > 0 ? input[0] : (byte)0, (byte)random.Next(256), out offset, out length) && offset + length > input.Length)
            throw new FuzzException("an answer was found that ends behind the input");
        _ = ModbusPdu.TryReadIdentification(input, new List<ModbusIdentity>(), out _, out _);
        if (ModbusPdu.ReadRequest(input, out var request) == ModbusExceptionCode.None)
        {
            // The unused bits of a last byte of coils are the sender's affair.
            if (!ModbusPdu.WriteRequest(request).AsSpan().SequenceEqual(input))
                throw new FuzzException($"{request} does not write as it was read");
            _ = ModbusPdu.TryReadResponse(request, input, out _, out _, out _);
        }

        if (ModbusSlave.Answer(new MemoryRegisterBank(100, 100, 100, 100), 1, input).Length is < 2 or > ModbusPdu.SizeMax)
            throw new FuzzException("an answer of a slave has an impossible length");
        return (1, input.Length);
    }

    private static (int, int) Codec(Random random)
    {
        var input = Mutator.Mutate(random, s_messages, SizeMax);
        if (!MessageCodec.TryRead(input, out var message, out var error))
            return error.Length > 0 ? (1, input.Length) : throw new FuzzException("refused without a reason");
        var written = MessageCodec.Write(message);
        if (!MessageCodec.TryRead(written, out var again, out error))
            throw new FuzzException($"what was read and written again cannot be read: {error}");
        if (again with { Content = default } != message with { Content = default } || !again.Content.Span.SequenceEqual(message.Content.Span))
            throw new FuzzException("what was read and written again differs");
        _ = MessageCodec.Unwrap(message.Content);
        _ = CloudAnswer.Read(message);
        _ = InventoryMessages.ReadPart(message.Content, out _);
        _ = MetaService.TryRead(message, out _, out _);
        _ = DeviceReport.TryRead(message, out _);
        return (1, input.Length);
    }

    private static (int, int) Path(Random random)
    {
        var text = Encoding.UTF8.GetString(Mutator.Mutate(random, s_paths, SizeMax));
        if (ResourcePath.TryParse(text, out var path) && (!ResourcePath.TryParse(path.ToString(), out var again) || (path.Namespace != "node" && again != path)))
            throw new FuzzException($"'{path}' does not read as it was written");
        return (1, text.Length);
    }

    private static (int, int) Answer(Random random)
    {
        var message = Arbitrary(random);
        var read = CloudAnswer.Read(message);
        if (read.Outcome != UplinkOutcome.Accepted && read.Text.Length == 0)
            throw new FuzzException("a failure without a text");
        return (1, message.Content.Length);
    }

    private static (int, int) ReadInventory(Random random)
    {
        var content = Mutator.Mutate(random, s_contents, SizeMax);
        if (InventoryMessages.ReadPart(content, out var error) is { } part)
            _ = Inventory.Compare(part, [], _ => false);
        else if (error.Length == 0)
            throw new FuzzException("refused without a reason");
        return (1, content.Length);
    }

    private static (int, int) Report(Random random)
    {
        var message = Arbitrary(random) with { Resource = random.Next(2) == 0 ? "device/default/d/twin/edge_updated" : "device/default/d/state/update" };
        if (DeviceReport.TryRead(message, out var error) is { } report)
        {
            var lane = new DeviceLane(new DeviceFacts("default", "d", "u", "n", "a"), Task.CompletedTask);
            lane.Add(report, [], () => { });
            using var patch = JsonDocument.Parse(DeviceStatusPatch.Of(s_deviceStatus, lane.Device, lane.Take(), out _));
        }
        else if (error.Length == 0)
            throw new FuzzException("refused without a reason");
        return (1, message.Content.Length);
    }

    private static (int, int) Meta(Random random)
    {
        var message = Arbitrary(random);
        if (!MetaService.TryRead(message, out var incoming, out var why) ? why.Length == 0 : incoming.Key.Length == 0)
            throw new FuzzException("neither an object nor a reason");
        return (1, message.Content.Length);
    }

    private static readonly byte[][] s_frames = [.. s_messages.Select(Frame)];

    private static byte[] Frame(byte[] json)
    {
        if (!MessageCodec.TryRead(json, out var message, out var error))
            throw new FuzzException(error);
        var output = new System.Buffers.ArrayBufferWriter<byte>();
        CompactCodec.Write(message, output);
        CompactCodec.Write(message with { Id = Guid.Empty.ToString(), Content = MessageCodec.JsonString(new string('x', 2000)) }, output);
        return output.WrittenSpan.ToArray();
    }

    private static (int, int) Compact(Random random)
    {
        var input = Mutator.Mutate(random, s_frames, SizeMax);
        ReadOnlySpan<byte> frame = input;
        while (!frame.IsEmpty)
        {
            var before = frame.Length;
            if (!CompactCodec.TryRead(ref frame, out var message, out var error))
                return error.Length > 0 ? (1, input.Length) : throw new FuzzException("refused without a reason");
            if (frame.Length >= before)
                throw new FuzzException("a record was read and not taken off");
            if (message is { Operation: Operations.Keepalive, ParentId.Length: 0 })
                continue; // written as the one byte that says all of it that counts
            var output = new System.Buffers.ArrayBufferWriter<byte>();
            CompactCodec.Write(message, output);
            var written = output.WrittenSpan;
            // Texts that were no UTF-8 are replaced by the reader, so the second reading is the one to compare.
            if (!CompactCodec.TryRead(ref written, out var again, out error) || !written.IsEmpty)
                throw new FuzzException($"what was read and written again cannot be read: {error}");
            if (again with { Content = default } != message with { Content = default } || !again.Content.Span.SequenceEqual(message.Content.Span))
                throw new FuzzException("what was read and written again differs");
        }

        return (1, input.Length);
    }

    private static (int, int) Fingerprint(Random random)
    {
        var input = Mutator.Mutate(random, s_contents, SizeMax);
        if (ObjectFingerprint.TryOf(input, out var one) && (!ObjectFingerprint.TryOf(input, out var two) || one != two))
            throw new FuzzException("two fingerprints of one object");
        return (1, input.Length);
    }

    private static readonly byte[][] s_inventories =
    [
        .. new[]
        {
            """{"count":7,"digest":"AAAAAAAAAAE="}""", """{"buckets":[0,3,9]}""",
            """{"of":16,"buckets":[3,9],"objects":[{"key":"default/pod/a","uid":"u","rv":"12","fp":"00000000000000ff"}]}""",
        }.Select(Encoding.UTF8.GetBytes),
    ];

    private static (int, int) Sync(Random random)
    {
        var input = Mutator.Mutate(random, s_inventories, SizeMax);
        if ((InventoryMessages.ReadDigest(input, out var error) is null && error.Length == 0) || (InventoryMessages.ReadPart(input, out error) is null && error.Length == 0))
            throw new FuzzException("refused without a reason");
        return (1, input.Length);
    }

    // As after a frame that was read: the content is valid JSON, or the codec would have refused it. One in four is raw, to be sure of more.
    private static Message Arbitrary(Random random)
    {
        var content = Mutator.Mutate(random, s_contents, SizeMax);
        return new Message
        {
            Id = "m",
            ParentId = random.Next(2) == 0 ? "" : "p",
            Operation = s_operations[random.Next(s_operations.Length)],
            Group = Groups.Resource,
            Resource = Encoding.UTF8.GetString(Mutator.Mutate(random, s_paths, 300)),
            ResourceVersion = random.Next(3) switch { 0 => "", 1 => random.NextInt64().ToString(System.Globalization.CultureInfo.InvariantCulture), _ => "-1x" },
            Content = content,
        };
    }

    // One node's session with a peer that answers what it likes: unknown ids, answers twice, wrong versions, no answer.
    private static (int, int) Session(Random random)
    {
        const int Steps = 100;
        var limits = new SessionLimits { Window = 4, ResendMs = 10, ResendMsMax = 100, ObjectsMax = 24, MessagesMax = 4, UnansweredMax = 8, TellsMembers = random.Next(2) == 0 };
        var number = 0;
        var core = new NodeSession(limits, () => $"m{++number}");
        var outputs = new List<SessionOutput>();
        var sent = new List<(string Id, DownObject Object)>();
        long now = 0;
        for (var step = 0; step < Steps; step++)
        {
            outputs.Clear();
            var tick = false;
            switch (random.Next(10))
            {
                case 0 or 1:
                    var isDelete = random.Next(4) == 0;
                    var uid = $"u{random.Next(40)}";
                    core.Step(new SessionInput.Deliver(new DownObject(
                        $"default/{(random.Next(2) == 0 ? "pod" : "device")}/p{random.Next(20)}", isDelete ? Operations.Delete : Operations.Update, uid, random.Next(-2, 50), Sources.EdgeController, new ObjectBody([]), isDelete && random.Next(2) == 0)), outputs);
                    break;
                case 2:
                    core.Step(new SessionInput.Ack(AnyId()), outputs);
                    break;
                case 3:
                    core.Step(new SessionInput.Refused(AnyId(), "no"), outputs);
                    break;
                case 4:
                    core.Step(new SessionInput.Known($"u{random.Next(40)}", random.NextInt64(-5, 60)), outputs);
                    break;
                case 5:
                    core.Step(new SessionInput.Send(new Message { Id = "s", Operation = Operations.Response }, random.Next(2) == 0), outputs);
                    break;
                case 6:
                    core.Step(new SessionInput.Open(), outputs);
                    break;
                case 7:
                    core.Step(new SessionInput.Members([.. Enumerable.Range(0, random.Next(4)).Select(i => $"default/device/p{i}")]), outputs);
                    break;
                default:
                    now += random.Next(30);
                    tick = true;
                    core.Step(new SessionInput.Tick(now, random.Next(20)), outputs);
                    break;
            }

            foreach (var output in outputs)
            {
                switch (output)
                {
                    case SessionOutput.SendObject send:
                        if (!tick)
                            throw new FuzzException("an object was sent outside a tick");
                        sent.Add((send.MessageId, send.Object));
                        break;
                    case SessionOutput.Stored stored:
                        if (!sent.Any(one => ReferenceEquals(one.Object, stored.Object)))
                            throw new FuzzException($"{stored.Object.Resource} counts as stored and was never sent");
                        break;
                }
            }

            if (core.ObjectDepth > limits.ObjectsMax || core.MessageDepth > 2 * limits.MessagesMax + limits.ObjectsMax || core.InFlight > limits.ObjectsMax)
                throw new FuzzException($"a bound was passed: {core.ObjectDepth} objects, {core.MessageDepth} messages, {core.InFlight} in flight");
            _ = core.NextDueMs;
        }

        return (Steps, Steps * 16);

        string AnyId()
        {
            if (sent.Count == 0 || random.Next(3) == 0)
                return $"m{random.Next(200)}x";
            return sent[random.Next(sent.Count)].Id;
        }
    }
}
