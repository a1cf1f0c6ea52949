WeftLab.main()
