using Edge.Core.DeviceTwin;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Xunit;

namespace Edge.Core.Tests.DeviceTwin;

/// <content>Mappers that refuse, are missing, or never come back.</content>
public sealed partial class TwinCoreTests
{
    private const long Hour = 3_600_000;

    private static readonly MapperCall s_call = new(false, "default", "thermo", new Device());

    [Fact]
    public void What_a_mapper_refuses_is_a_problem_of_the_device_until_it_takes_it()
    {
        Put();
        Register("a", true);
        var outputs = Step(new TwinInput.CallEnded("a", s_call, "no free port", 5000));
        Assert.Equal("mapper 'a' refused the device: no free port", Assert.Single(Single<TwinOutput.SendTwin>(outputs).Problems));
        outputs = Step(new TwinInput.CallEnded("a", new MapperCall(true, "default", "model", new DeviceModel()), "what model?", 10_000));
        Assert.Equal(2, Single<TwinOutput.SendTwin>(outputs).Problems.Count);
        outputs = Step(new TwinInput.CallEnded("a", s_call, "", 20_000));
        Assert.Equal("mapper 'a' refused the model: what model?", Assert.Single(Single<TwinOutput.SendTwin>(outputs).Problems));

        // It has both anew when it registers.
        Assert.Empty(Single<TwinOutput.SendTwin>(Register("a", true, now: 30_000)).Problems);
    }

    [Fact]
    public void What_a_mapper_refused_is_forgotten_when_the_device_is_another_protocols_and_a_long_reason_is_cut()
    {
        Put();
        Register("a", true);
        var problem = Assert.Single(Single<TwinOutput.SendTwin>(Step(new TwinInput.CallEnded("a", s_call, new string('x', 1_000_000), 5000))).Problems);
        Assert.InRange(problem.Length, 1000, 1100);
        var device = Device();
        device["spec"]!["protocol"]!["protocolName"] = "opcua";
        Assert.Empty(Single<TwinOutput.SendTwin>(Step(new TwinInput.ObjectChanged("device", "default", "thermo", device, 10_000))).Problems);
        Assert.Empty(Step(new TwinInput.CallEnded("a", s_call, "too late", 20_000)));
    }

    [Fact]
    public void A_device_whose_protocol_nobody_registers_for_says_so_after_a_minute_and_until_somebody_does()
    {
        var core = new TwinCore { NodeName = "edge-1" };
        var outputs = new List<TwinOutput>();
        core.Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()), outputs);
        core.Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device(), 1000), outputs);
        Assert.Empty(outputs.OfType<TwinOutput.SendTwin>());
        Assert.Equal(61_000, core.NextTickMs);
        core.Step(new TwinInput.Tick(60_999), outputs);
        Assert.Empty(outputs.OfType<TwinOutput.SendTwin>());
        core.Step(new TwinInput.Tick(61_000), outputs);
        Assert.Equal("no mapper of protocol modbus is registered on node edge-1", Assert.Single(Single<TwinOutput.SendTwin>(outputs).Problems));
        Assert.Equal("unknown", Single<TwinOutput.SendState>(outputs).State);
        Assert.Null(core.NextTickMs);
        outputs.Clear();
        core.Step(new TwinInput.RegisterMapper(new MapperInfo { Name = "o", Protocol = "opcua" }, true, 70_000), outputs);
        Assert.Empty(outputs.OfType<TwinOutput.SendTwin>());
        core.Step(new TwinInput.RegisterMapper(new MapperInfo { Name = "m", Protocol = "modbus" }, true, 80_000), outputs);
        Assert.Empty(Single<TwinOutput.SendTwin>(outputs).Problems);
    }

    [Fact]
    public void A_device_that_somebody_reports_of_needs_no_mapper()
    {
        Put();
        Report(1000, "t", "5");
        Assert.Null(_core.NextTickMs);
        Assert.Empty(Step(new TwinInput.Tick(100_000)));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("", "7"), 200_000));
        Assert.Empty(Step(new TwinInput.Tick(300_000)));
    }

    [Fact]
    public void An_application_that_speaks_for_a_device_later_ends_the_lack_of_a_mapper()
    {
        Put();
        Assert.Single(Single<TwinOutput.SendTwin>(Step(new TwinInput.Tick(60_000))).Problems);
        var outputs = App("state/update", """{"state":"online"}""", 70_000);
        Assert.Equal("online", Single<TwinOutput.SendState>(outputs).State);
        Assert.Empty(Single<TwinOutput.SendTwin>(outputs).Problems);
    }

    [Fact]
    public void A_device_that_comes_while_the_only_mapper_is_dead_is_unknown_at_once()
    {
        Register("a", true);
        Step(new TwinInput.MapperSeen("a", false, 1000));
        var outputs = Put();
        Assert.Equal("unknown", Single<TwinOutput.SendState>(outputs).State);
        Assert.Contains("mapper 'a' of protocol modbus does not answer", Assert.Single(Single<TwinOutput.SendTwin>(outputs).Problems), StringComparison.Ordinal);

        // A report that comes all the same counts, also after the next change of the device.
        Assert.Equal("online", Single<TwinOutput.SendState>(Report(2000, "t", "5")).State);
        Assert.DoesNotContain(Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("", "7"), 3000)), one => one is TwinOutput.SendState);
        Assert.Empty(Single<TwinOutput.SendTwin>(Register("a", true, now: 10_000)).Problems);
    }

    [Fact]
    public void Mappers_named_after_their_pods_never_fill_the_table()
    {
        Put();
        for (var i = 0; i < 1000; i++)
        {
            var outputs = Register($"pod-{i}", true, now: i * 1000L);
            Single<TwinOutput.Answer>(outputs);
            Assert.Equal(i < TwinCore.MappersMax ? [] : [$"pod-{i - TwinCore.MappersMax}"], outputs.OfType<TwinOutput.MapperForgotten>().Select(one => one.Mapper.Name));
            Step(new TwinInput.MapperSeen($"pod-{i}", false, (i * 1000L) + 500));
        }

        // After an hour those that others stand in for go; those that nobody stands in for stay.
        Register("only", true, "opcua", 1_000_000);
        Step(new TwinInput.MapperSeen("only", false, 1_000_000));
        var later = Register("new", true, now: 1_000_000 + Hour);
        Assert.Equal(TwinCore.MappersMax - 1, later.OfType<TwinOutput.MapperForgotten>().Count());
        Assert.DoesNotContain(later.OfType<TwinOutput.MapperForgotten>(), one => one.Mapper.Name == "only");
        Assert.Contains(later.OfType<TwinOutput.Forget>(), one => one.Key == "mapper/pod-999");
    }

    [Fact]
    public void A_mapper_too_many_is_refused_while_all_of_them_answer()
    {
        for (var i = 0; i < TwinCore.MappersMax; i++)
            Register($"m{i}", true);
        Assert.Equal(GrpcStatusCode.ResourceExhausted, Single<TwinOutput.Refuse>(Register("more", true)).Code);
        Single<TwinOutput.Answer>(Register("m7", true));
    }
}
