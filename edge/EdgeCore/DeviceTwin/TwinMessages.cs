using System.Text.Json.Nodes;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Google.Protobuf;

namespace Edge.Core.DeviceTwin;

/// <summary>What happened, for <see cref="TwinCore"/>.</summary>
internal abstract record TwinInput
{
    /// <summary>A Device or DeviceModel as MetaManager has it now; null when it is gone.</summary>
    public sealed record ObjectChanged(string Type, string Namespace, string Name, JsonObject? Object, long NowMs = 0) : TwinInput;

    /// <summary>A mapper called MapperRegister.</summary>
    public sealed record RegisterMapper(MapperInfo Mapper, bool WithData, long NowMs = 0) : TwinInput;

    /// <summary>A mapper refused a call, or took one after it had refused the object (<paramref name="Reason"/> is empty then).</summary>
    public sealed record CallEnded(string Mapper, MapperCall Call, string Reason, long NowMs) : TwinInput;

    /// <summary>A mapper called ReportDeviceStatus.</summary>
    public sealed record ReportStatus(ReportDeviceStatusRequest Request, long NowMs) : TwinInput;

    /// <summary>A mapper called ReportDeviceStates.</summary>
    public sealed record ReportState(ReportDeviceStatesRequest Request, long NowMs) : TwinInput;

    /// <summary>A mapper answers, or has not answered for too long.</summary>
    public sealed record MapperSeen(string Mapper, bool IsAlive, long NowMs) : TwinInput;

    /// <summary>Time has passed: what waited for its window goes.</summary>
    public sealed record Tick(long NowMs) : TwinInput;

    /// <summary>An application at this edge published on one of the twin's topics (kubeedge-wire §4.6).</summary>
    public sealed record AppMessage(string Topic, ReadOnlyMemory<byte> Payload, long NowMs) : TwinInput;
}

/// <summary>What must be done about it, in order.</summary>
internal abstract record TwinOutput
{
    /// <summary>Store the row before anything that follows.</summary>
    public sealed record Persist(string Key, byte[] Row) : TwinOutput;

    public sealed record Forget(string Key) : TwinOutput;

    /// <summary>Send the device's newest twin to the cloud.</summary>
    public sealed record SendTwin(string Namespace, string Name, string Uid, SortedList<string, PropertyTwin> Properties, IReadOnlyList<string> Problems) : TwinOutput;

    /// <summary>Send one sample of a property that keeps its history; none may be lost.</summary>
    public sealed record SendSample(string Namespace, string Name, string Uid, string Property, string Value, long TimestampMs) : TwinOutput;

    /// <summary>Publish to the applications at this edge.</summary>
    public sealed record Publish(string Topic, byte[] Payload) : TwinOutput;

    /// <summary>A desired value met one of the other side; says which stays, with both versions.</summary>
    public sealed record Conflict(string Device, string Property, string Text) : TwinOutput;

    /// <summary>Send the device's state to the cloud.</summary>
    public sealed record SendState(string Namespace, string Name, string Uid, string State, long LastOnlineMs) : TwinOutput;

    /// <summary>A mapper registered: (re)dial it. It has <paramref name="Delivered"/> already, or gets them with the answer.</summary>
    public sealed record MapperChanged(MapperInfo Mapper, IReadOnlyList<MapperCall> Delivered) : TwinOutput;

    /// <summary>A mapper that is gone: dial it no longer.</summary>
    public sealed record MapperForgotten(MapperInfo Mapper) : TwinOutput;

    /// <summary>Tell a mapper.</summary>
    public sealed record Deliver(string Mapper, MapperCall Call) : TwinOutput;

    /// <summary>The call's answer.</summary>
    public sealed record Answer(IMessage Message) : TwinOutput;

    /// <summary>The call's refusal.</summary>
    public sealed record Refuse(GrpcStatusCode Code, string Reason) : TwinOutput;

    /// <summary>A reported value was not taken.</summary>
    public sealed record Dropped(string Device, string Property, string Reason) : TwinOutput;

    /// <summary>A device is held back until its model is here.</summary>
    public sealed record WaitsForModel(string Device, string Model) : TwinOutput;
}

/// <summary>The state a mapper should have of one object: the newest message, or null when it is gone.</summary>
internal sealed record MapperCall(bool IsModel, string Namespace, string Name, IMessage? Message)
{
    /// <summary>The place in a trace of the change that this tells, or null.</summary>
    public string? Trace { get; init; }

    public string Key => $"{(IsModel ? "devicemodel" : "device")}/{Namespace}/{Name}";
}

/// <summary>What is known of one property; an immutable snapshot.</summary>
internal sealed record PropertyTwin
{
    /// <summary>The reported value; null before the first report.</summary>
    public string? Value { get; init; }

    /// <summary>When the mapper read it, ms since the epoch.</summary>
    public long TimestampMs { get; init; }

    /// <summary>int, float, string …: the mapper's word, else the model's type.</summary>
    public string Type { get; init; } = "";

    /// <summary>Why there is no good value; empty when there is.</summary>
    public string Error { get; init; } = "";

    /// <summary>The desired value that the mapper says it has written; null when none.</summary>
    public string? Expected { get; init; }

    public long ExpectedTimestampMs { get; init; }

    /// <summary>Counts the changes of the reported value on this node; survives restarts.</summary>
    public long EdgeVersion { get; init; }

    /// <summary>What the device should be set to, whoever said so last; null when nothing.</summary>
    public string? Desired { get; init; }

    /// <summary>What the cloud desired last; null when nothing.</summary>
    public string? CloudDesired { get; init; }

    /// <summary><see cref="Desired"/> was set at this edge, after the cloud's.</summary>
    public bool IsDesiredHere { get; init; }

    /// <summary>The Device's resourceVersion with which the cloud's desired value came.</summary>
    public long DesiredCloudVersion { get; init; }

    /// <summary>Counts the desired values set at this edge.</summary>
    public long DesiredEdgeVersion { get; init; }

    /// <summary>When <see cref="Desired"/> was desired, ms since the epoch; 0 where the cloud does not say.</summary>
    public long DesiredTimestampMs { get; init; }

    /// <summary>The timestamp beside <see cref="CloudDesired"/>, as it came; 0 where there was none.</summary>
    public long CloudTimestampMs { get; init; }

    /// <summary>Which desired value replaced which, both with their versions; empty when none did.</summary>
    public string Conflict { get; init; } = "";

    /// <summary>Why a desired value is not passed to the mapper; empty when it is. Found anew with each Device and model, so not stored.</summary>
    public string Refused { get; init; } = "";

    /// <summary>True when a peer would see a difference; the time of reading alone is none.</summary>
    public bool Differs(PropertyTwin other)
        => Value != other.Value || Type != other.Type || Error != other.Error || Expected != other.Expected || Conflict != other.Conflict || Refused != other.Refused;
}
