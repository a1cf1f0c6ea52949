WeftAgent.main()
